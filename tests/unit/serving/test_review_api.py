"""The review queue as reviewers meet it: what they are shown and not shown, and which words are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback import consumer, ingest
from serving import review_api
from tests.gateway_worker import CHANNEL, Worker, worker
from tests.unit.thumbwheel.test_data_rows import feedback, inference
from tests.unit.thumbwheel.test_data_rows import ingest as ingest_events
from thumbwheel.clock import system_clock
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, ProposalEvent, ReviewEvent, decode, encode
from thumbwheel.keys import as_record, mint
from thumbwheel.store import curation_rows, data_rows, dataset_rows, fleet_rows, ingestion
from thumbwheel.store.dataset_rows import Ruling
from thumbwheel.why import explain

PATH = f"/admin/v1/channels/{CHANNEL}/reviews"
PHONE = "13812345678"
SECRET = "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12Mn34Op56Qr78"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path) as made:
        yield made


def waits(gateway: Worker, n: int, reason: str = "contradiction", **fields: Any) -> str:
    """A feedback of the channel that waits for this reason; its id."""
    store, id_ = gateway.gateway.parts.store, f"fb-{n}"
    messages = [{"role": "user", "content": f"call me at {PHONE} about parcel {n}"}]
    said = feedback(id_, f"inf-{n}", at_ms=n, **{"correction": f"We ring {PHONE} today. {n}", **fields})
    ingest_events(store, inference(f"inf-{n}", unit=f"u{n}", messages=messages, answer=f"No {PHONE}."), said, start=n)
    stands(gateway, id_, reason)
    return id_


def stands(gateway: Worker, id_: str, reason: str) -> None:
    """Have it wait for this, as a run that ended would."""
    with gateway.gateway.parts.store.write() as tx:
        row = data_rows.feedback_row(tx, id_)
        assert row is not None
        was = (row.state, row.reason)
        dataset_rows.rule(tx, [Ruling(id_, row.at_ms, row.seq, was, "waiting", reason)])


def consume(gateway: Worker) -> None:
    """What a consumer does: the log into the store."""
    parts = gateway.gateway.parts
    log = SqliteEventLog(parts.home.events)
    for at in consumer.take_partitions(parts.store, log):
        ingest.step(parts.store, log, at, 0)
    log.close()


async def queue(gateway: Worker, **params: Any) -> list[str]:
    told = await gateway.admin.get(PATH, params=params)
    assert told.status_code == 200, told.text
    return [one["feedback"] for one in told.json()["reviews"]]


async def judge(gateway: Worker, feedback: str, verdict: str = "approve", **fields: Any) -> httpx.Response:
    return await gateway.admin.post(PATH, json={"feedback": feedback, "verdict": verdict, **fields})


async def judged(gateway: Worker, feedback: str, verdict: str = "approve", **fields: Any) -> str:
    """The review's id, once a consumer has read it."""
    told = await judge(gateway, feedback, verdict, **fields)
    assert told.status_code == 202, told.text
    consume(gateway)
    return str(told.json()["id"])


def reviews_in(gateway: Worker) -> list[ReviewEvent]:
    with gateway.gateway.parts.store.read() as tx:
        return curation_rows.of_channel(tx, CHANNEL, ReviewEvent)


def audit(gateway: Worker, subject: str) -> list[tuple[str, str]]:
    with gateway.gateway.parts.store.read() as tx:
        return [(row["action"], row["who"]) for row in fleet_rows.audit_of(tx, subject)]


async def with_rights(gateway: Worker, *rights: str) -> httpx.AsyncClient:
    """Another administrator's client, with these rights alone."""
    text, now_ms = mint("admin"), system_clock()
    with gateway.gateway.parts.store.write() as tx:
        fleet_rows.insert_key(tx, as_record(text, "admin", "default", frozenset(rights), now_ms), now_ms)
    for _ in range(2):  # a look that is under way may have begun before the key was there, and callers share it
        await gateway.gateway.parts.watch.refresh()
    transport = httpx.ASGITransport(gateway.gateway.admin, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"authorization": f"Bearer {text}"}
    )


# the queue


async def test_the_queue_is_what_waits_for_a_reviewer_oldest_first(gateway: Worker) -> None:
    ids = [waits(gateway, n, reason) for n, reason in ((3, "quarantined"), (1, "speaks_to_model"), (2, "needs_review"))]
    waits(gateway, 4, "second_source")
    waits(gateway, 5, "no_run_yet")
    assert await queue(gateway) == ["fb-1", "fb-2", "fb-3"] == sorted(ids)
    assert await queue(gateway, limit=1) == ["fb-1"]
    assert await queue(gateway, state=["needs_review", "no_run_yet"]) == ["fb-2", "fb-5"]
    assert await queue(gateway, feedback="fb-4") == ["fb-4"]
    assert (await gateway.admin.get(PATH)).json()["waiting"] == 3


async def test_a_sample_is_the_seeds(gateway: Worker) -> None:
    for n in range(1, 31):
        waits(gateway, n)
    drawn = await queue(gateway, sample=5, seed="monday")
    assert drawn == await queue(gateway, sample=5, seed="monday")
    assert len(set(drawn)) == 5 and drawn != await queue(gateway, sample=5, seed="tuesday")


@pytest.mark.parametrize(
    ("params", "param"),
    [({"state": "used"}, "state"), ({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"sample": "x"}, "sample")],
)
async def test_what_the_queue_cannot_be_asked(gateway: Worker, params: dict[str, Any], param: str) -> None:
    told = await gateway.admin.get(PATH, params=params)
    error = told.json()["error"]
    assert (told.status_code, error["param"], error["code"]) == (400, param, "invalid_value")
    assert error["type"] == "invalid_request_error" and param in error["message"]


async def test_it_is_the_administrators_alone(gateway: Worker) -> None:
    application = {"authorization": gateway.api.headers["authorization"]}
    for path in (PATH, f"{PATH}/agreement"):
        assert (await gateway.admin.get(path, headers=application)).status_code == 401
    assert (await gateway.admin.post(PATH, json={}, headers=application)).status_code == 401
    missing = await gateway.admin.get("/admin/v1/channels/nowhere/reviews")
    assert missing.status_code == 404


# personal data


async def test_personal_data_is_masked_until_it_is_asked_for(gateway: Worker) -> None:
    waits(gateway, 1, comment=f"mail ann.lee@example.org, {PHONE}")
    told = await gateway.admin.get(PATH)
    (case,) = told.json()["reviews"]
    assert PHONE not in told.text and "ann.lee" not in told.text
    assert case["messages"] == [{"role": "user", "content": "call me at [PHONE_1] about parcel 1"}]
    assert (case["answer"], case["correction"]) == ("No [PHONE_1].", "We ring [PHONE_1] today. 1")
    assert case["comment"] == "mail [EMAIL_1], [PHONE_1]"
    assert (case["masked"], "author" in case) == ({"EMAIL": 1, "PHONE": 1}, False)
    assert audit(gateway, "fb-1") == []
    told = await gateway.admin.get(PATH, params={"unmasked": True})
    (case,) = told.json()["reviews"]
    assert case["messages"][0]["content"] == f"call me at {PHONE} about parcel 1"
    assert (case["masked"], case["author"]) == (None, "u1")
    assert [action for action, _ in audit(gateway, "fb-1")] == ["unmask"]


async def test_what_the_house_allows_is_not_masked(gateway: Worker) -> None:
    waits(gateway, 1)
    await gateway.admin.put(f"/admin/v1/channels/{CHANNEL}", json={"clean": {"allow": [PHONE]}})
    assert PHONE in (await gateway.admin.get(PATH)).text


async def test_to_see_it_takes_the_right(gateway: Worker) -> None:
    waits(gateway, 1)
    async with await with_rights(gateway, "arbiter") as other:
        told = await other.get(PATH, params={"unmasked": True})
        assert (told.status_code, told.json()["error"]["code"]) == (403, "right_missing")
        assert PHONE not in told.text and audit(gateway, "fb-1") == []
    async with await with_rights(gateway, "raw") as other:
        assert PHONE in (await other.get(PATH, params={"unmasked": True})).text


async def test_what_cannot_be_audited_is_not_shown(gateway: Worker) -> None:
    waits(gateway, 1)
    store = gateway.gateway.parts.store
    with store.write() as tx:
        tx.exec_driver_sql("create trigger full before insert on audit begin select raise(abort, 'no'); end")
    told = await gateway.admin.get(PATH, params={"unmasked": True})
    assert told.status_code >= 500 and PHONE not in told.text


async def test_of_a_message_that_is_no_text_its_kinds_are_told(gateway: Worker) -> None:
    id_ = waits(gateway, 1)
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/me.png"}}
    parts = [{"type": "text", "text": f"my number is {PHONE}"}, picture]
    store = gateway.gateway.parts.store
    ingest_events(store, inference("inf-2", messages=[{"role": "user", "content": parts}]), feedback("fb-2", "inf-2"))
    told = await gateway.admin.get(PATH, params={"feedback": "fb-2"})
    (message,) = told.json()["reviews"][0]["messages"]
    assert message == {"role": "user", "content": "my number is [PHONE_1]", "holds_also": ["image_url"]}
    assert "me.png" not in told.text and id_


# reviews


async def test_a_review_is_an_event_on_disk_before_the_answer(gateway: Worker) -> None:
    waits(gateway, 1)
    scores = {"accuracy": 5, "fluency": 4, "expertise": 3}
    told = await judge(gateway, "fb-1", "edit", target="Free.", scores=scores, reviewer="ann", reason="shorter")
    assert told.status_code == 202
    log = SqliteEventLog(gateway.gateway.parts.home.events)
    (record,) = log.read(CURATION, 0, 0, 10)
    log.close()
    event = decode(record.value)
    assert isinstance(event, ReviewEvent) and (record.key, event.id) == ("fb-1", told.json()["id"])
    assert (event.channel, event.reviewer, event.verdict, event.target) == (CHANNEL, "ann", "edit", "Free.")
    assert (event.scores, event.reason, event.role) == (scores, "shorter", "reviewer")
    assert [action for action, _ in audit(gateway, "fb-1")] == ["review"]


async def test_the_same_review_again_is_one(gateway: Worker) -> None:
    waits(gateway, 1)
    first = await judged(gateway, "fb-1", reviewer="ann")
    assert await judged(gateway, "fb-1", reviewer="ann") == first
    other = await judged(gateway, "fb-1", "refuse", reason="untrue", reviewer="ann")
    back = await judged(gateway, "fb-1", reviewer="ann")
    assert len({first, other, back}) == 3
    assert [one.id for one in reviews_in(gateway)] == [first, other, back]
    assert len(audit(gateway, "fb-1")) == 3


async def test_a_log_that_is_away_takes_no_review(gateway: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    waits(gateway, 1)

    async def away(_event: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(gateway.gateway.parts.feedback_log, "append", away)
    told = await judge(gateway, "fb-1")
    assert told.status_code == 503 and told.headers["retry-after"]
    assert audit(gateway, "fb-1") == []


async def test_a_review_waits_for_the_ones_before(gateway: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a reviewer's word could pass for the same as one that they have taken back since."""
    monkeypatch.setattr(review_api, "CATCH_UP_S", 0.0)
    waits(gateway, 1)
    assert (await judge(gateway, "fb-1")).status_code == 202
    told = await judge(gateway, "fb-1", "refuse", reason="untrue")
    assert (told.status_code, told.json()["error"]["code"]) == (503, "not_yet")
    consume(gateway)
    assert (await judge(gateway, "fb-1", "refuse", reason="untrue")).status_code == 202


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "feedback"),
        ({"feedback": None, "verdict": "approve"}, "feedback"),
        ({"feedback": "fb-1"}, "verdict"),
        ({"feedback": "fb-1", "verdict": "like"}, "verdict"),
        ({"feedback": "fb-1", "verdict": "edit"}, "target"),
        ({"feedback": "fb-1", "verdict": "edit", "target": "  "}, "target"),
        ({"feedback": "fb-1", "verdict": "approve", "target": "Free."}, "target"),
        ({"feedback": "fb-1", "verdict": "refuse"}, "reason"),
        ({"feedback": "fb-1", "verdict": "approve", "scores": {"style": 5}}, "scores"),
        ({"feedback": "fb-1", "verdict": "approve", "scores": {"fluency": 6}}, "scores.fluency"),
        ({"feedback": "fb-1", "verdict": "approve", "scores": {"fluency": 0}}, "scores.fluency"),
        ({"feedback": "fb-1", "verdict": "approve", "scores": {"fluency": True}}, "scores.fluency"),
        ({"feedback": "fb-1", "verdict": "approve", "scores": []}, "scores"),
        ({"feedback": "fb-1", "verdict": "approve", "role": "judge"}, "role"),
        ({"feedback": "fb-1", "verdict": "approve", "reviewer": ""}, "reviewer"),
        ({"feedback": "fb-1", "verdict": "approve", "author": "ann"}, "author"),
        ({"feedback": ["fb-1"], "verdict": "approve"}, "feedback"),
    ],
)
async def test_a_malformed_review_names_its_field(gateway: Worker, body: dict[str, Any], param: str) -> None:
    waits(gateway, 1)
    told = await gateway.admin.post(PATH, json=body)
    error = told.json()["error"]
    assert (told.status_code, error["param"]) == (400, param)
    missing = body.get(param) is None and not param.startswith("scores")
    wanted = "missing_field" if missing else "unknown_field" if param == "author" else "invalid_value"
    assert (error["type"], error["code"]) == ("invalid_request_error", wanted)
    assert reviews_in(gateway) == []


@pytest.mark.parametrize(
    ("target", "code"),
    [(f"The key is {SECRET}.", "secret_in_target"), ("Ring 13987654321.", "personal_data_in_target")],
)
async def test_an_edit_that_holds_a_secret_is_not_taken(gateway: Worker, target: str, code: str) -> None:
    waits(gateway, 1)
    told = await judge(gateway, "fb-1", "edit", target=target)
    assert (told.status_code, told.json()["error"]["code"]) == (400, code)
    consume(gateway)
    assert reviews_in(gateway) == []
    assert (await judge(gateway, "fb-1", "edit", target=f"We ring {PHONE}, as you said.")).status_code == 202


async def test_what_nobody_can_review(gateway: Worker) -> None:
    waits(gateway, 1)
    waits(gateway, 2, "no_correction", correction=None, thumb="down")
    waits(gateway, 4)
    ingest_events(gateway.gateway.parts.store, feedback("fb-5", "inf-4", at_ms=999, correction="No, another."), start=9)
    ingest_events(gateway.gateway.parts.store, feedback("fb-3", "inf-nowhere"))
    for body, status, code in (
        ({"feedback": "fb-9"}, 404, "feedback_not_found"),
        ({"feedback": "fb-1", "reviewer": "u1"}, 409, "own_correction"),
        ({"feedback": "fb-1", "proposal": "pr-9"}, 404, "proposal_not_found"),
        ({"feedback": "fb-2"}, 409, "no_correction"),
        ({"feedback": "fb-3"}, 409, "not_reviewable"),
        ({"feedback": "fb-4"}, 409, "not_reviewable"),
    ):
        told = await gateway.admin.post(PATH, json={"verdict": "approve", **body})
        assert (told.status_code, told.json()["error"]["code"]) == (status, code), body
    await gateway.admin.put("/admin/v1/channels/other", json={})
    told = await gateway.admin.post("/admin/v1/channels/other/reviews", json={"feedback": "fb-1", "verdict": "approve"})
    assert told.status_code in (404, 503)


async def test_what_was_given_up_is_in_no_queue_and_can_be_reviewed(gateway: Worker) -> None:
    waits(gateway, 1, "no_correction", correction=None, thumb="down")
    assert await queue(gateway, state=["no_correction"]) == ["fb-1"]
    with gateway.gateway.parts.store.write() as tx:
        ingestion.give_up(tx, 10**15)
    assert await queue(gateway, state=["no_correction"]) == []
    assert await queue(gateway, feedback="fb-1") == ["fb-1"]
    assert (await judge(gateway, "fb-1", "edit", target="We repair it free of charge.")).status_code == 202


async def test_a_thumb_can_be_approved_where_it_is_what_is_learnt_from(gateway: Worker) -> None:
    waits(gateway, 1, "needs_review", correction=None, thumb="down")
    waits(gateway, 2, "needs_review", correction=None, comment="no")
    gateway.channel(uncorrected="kto", trust="reviewed")
    assert (await judge(gateway, "fb-2")).json()["error"]["code"] == "no_correction"
    await judged(gateway, "fb-1")
    assert await queue(gateway) == ["fb-2"]


# two who do not see each other


async def test_what_is_decided_leaves_the_queue(gateway: Worker) -> None:
    for n in (1, 2, 3):
        waits(gateway, n)
    await judged(gateway, "fb-1")
    await judged(gateway, "fb-2", "refuse", reason="untrue")
    assert await queue(gateway) == ["fb-3"]


async def test_a_reviewer_sees_no_word_of_the_other(gateway: Worker) -> None:
    gateway.channel(reviews=2)
    waits(gateway, 1)
    before = (await gateway.admin.get(PATH, params={"reviewer": "bob"})).json()
    await judged(gateway, "fb-1", "refuse", reason="untrue", reviewer="ann", scores={"accuracy": 1})
    assert (await gateway.admin.get(PATH, params={"reviewer": "bob"})).json() == before
    lineage = await gateway.admin.get("/admin/v1/lineage/fb-1")
    with gateway.gateway.parts.store.read() as tx:
        told = " ".join(explain(tx, "fb-1")) + lineage.text
    assert lineage.status_code == 200 and "refuse" not in told and "untrue" not in told
    assert await queue(gateway, reviewer="ann") == [] == await queue(gateway, reviewer="u1")
    await judged(gateway, "fb-1", "refuse", reason="not so", reviewer="bob")
    assert await queue(gateway) == []


async def test_what_they_disagree_on_is_for_an_arbiter(gateway: Worker) -> None:
    gateway.channel(reviews=2)
    waits(gateway, 1)
    early = await judge(gateway, "fb-1", role="arbiter", reviewer="cy")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "no_disagreement")
    await judged(gateway, "fb-1", "edit", target="Free.", reviewer="ann")
    await judged(gateway, "fb-1", "edit", target=f"Free, {PHONE}.", reviewer="bob")
    (case,) = (await gateway.admin.get(PATH, params={"state": "disagreement"})).json()["reviews"]
    assert [one["target"] for one in case["disagreement"]] == ["Free.", "Free, [PHONE_1]."]
    assert "ann" not in str(case) and "bob" not in str(case)
    async with await with_rights(gateway) as other:
        (hidden,) = (await other.get(PATH)).json()["reviews"]
        assert "disagreement" not in hidden and hidden["reason"] == "disagreement"
        told = await other.post(PATH, json={"feedback": "fb-1", "verdict": "approve", "role": "arbiter"})
        assert (told.status_code, told.json()["error"]["code"]) == (403, "right_missing")
    own = await judge(gateway, "fb-1", role="arbiter", reviewer="ann")
    assert (own.status_code, own.json()["error"]["code"]) == (409, "own_review")
    await judged(gateway, "fb-1", role="arbiter", reviewer="cy")
    assert await queue(gateway) == []


async def test_proposals_are_shown_and_judged_one_by_one(gateway: Worker) -> None:
    waits(gateway, 1, "proposed", correction=None, thumb="down")
    made = [ProposalEvent(f"pr-{n}", "fb-1", CHANNEL, 50, f"{n} for {PHONE}", "teacher", "m", "1") for n in (1, 2)]
    log = SqliteEventLog(gateway.gateway.parts.home.events)
    log.append(CURATION, [("fb-1", encode(one)) for one in made], durable=True)
    log.close()
    consume(gateway)
    (case,) = (await gateway.admin.get(PATH)).json()["reviews"]
    assert [one["target"] for one in case["proposals"]] == ["1 for [PHONE_1]", "2 for [PHONE_1]"]
    await judged(gateway, "fb-1", "refuse", proposal="pr-1", reason="untrue")
    (case,) = (await gateway.admin.get(PATH)).json()["reviews"]
    assert [one["id"] for one in case["proposals"]] == ["pr-2"]
    await judged(gateway, "fb-1", "refuse", proposal="pr-2", reason="untrue")
    assert await queue(gateway) == []


async def test_a_proposal_for_a_thumb_that_was_approved_before_waits_for_its_own_word(gateway: Worker) -> None:
    gateway.channel(uncorrected="kto", trust="reviewed")
    waits(gateway, 1, "needs_review", correction=None, thumb="down")
    await judged(gateway, "fb-1")
    gateway.channel(uncorrected="propose", trust="reviewed")
    log = SqliteEventLog(gateway.gateway.parts.home.events)
    made = ProposalEvent("pr-1", "fb-1", CHANNEL, 50, "It is free.", "teacher", "m", "1")
    log.append(CURATION, [("fb-1", encode(made))], durable=True)
    log.close()
    consume(gateway)
    stands(gateway, "fb-1", "proposed")
    assert await queue(gateway) == ["fb-1"]
    await judged(gateway, "fb-1", proposal="pr-1")
    assert await queue(gateway) == []


async def test_a_nul_is_in_no_name_and_no_id(gateway: Worker) -> None:
    for path in (f"{PATH}?feedback=%00", "/admin/v1/channels/%00/reviews", "/admin/v1/lineage/x%00y"):
        told = await gateway.admin.get(path)
        assert (told.status_code, told.json()["error"]["code"]) == (400, "invalid_value"), path
    assert (await gateway.api.get("/v1/feedback/x%00")).status_code == 400
    for name in ("feedback", "proposal", "reviewer"):
        said = {"feedback": "fb-1", "verdict": "approve", name: "x\0y"}
        told = await gateway.admin.post(PATH, json=said)
        assert (told.status_code, told.json()["error"]["param"]) == (400, name)


async def test_how_far_they_agree(gateway: Worker) -> None:
    for n in (1, 2, 3):
        waits(gateway, n)
    for n, verdicts in ((1, "aa"), (2, "ar"), (3, "a")):
        for reviewer, verdict in zip(("ann", "bob"), verdicts, strict=False):
            word = {"a": "approve", "r": "refuse"}[verdict]
            await judged(gateway, f"fb-{n}", word, reviewer=reviewer, reason="so", scores={"fluency": n})
    told = (await gateway.admin.get(f"{PATH}/agreement")).json()
    assert told["feedback"] == {"approved": 2, "edited": 0, "refused": 0, "disagreement": 1, "open": 0}
    assert (told["reviews"], told["by_several"], told["verdicts"]["alpha"]) == (5, 2, 0.0)
    assert told["rubric"]["scores"]["fluency"]["alpha"] == 1.0
    assert told["rubric"]["scores"]["accuracy"]["alpha"] is None
