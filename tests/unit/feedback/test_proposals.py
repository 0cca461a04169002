from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback import proposals, teacher
from feedback.curate import curate
from feedback.join import Joined
from feedback.names import By, NameFinder
from feedback.proposals import (
    INSTRUCTION,
    Case,
    alone,
    masked_question,
    misfit,
    named,
    proposal_id,
    resamples,
    to_ask,
    usable,
)
from feedback.screening import Wants, wants_of
from feedback.snapshot import Limits, Snapshot
from feedback.teacher import Said
from tests.stores import store_in
from tests.teacher import MODEL, Reply, Teacher, completion, teaching
from tests.unit.feedback.joined import thumb
from thumbwheel import rollouts
from thumbwheel.errors import InvalidRequest, JobError, NotFound, NotRunning
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import (
    CURATION,
    CurationEvent,
    FeedbackEvent,
    InferenceEvent,
    ProposalEvent,
    ReviewEvent,
    decode,
)
from thumbwheel.home import prepare
from thumbwheel.records import Clean, Policies, Variant
from thumbwheel.scorers import parse_scorer
from thumbwheel.store import data_rows, ingestion, release_rows
from thumbwheel.why import explain

BETTER = "第{}号订单明天发货。"


def wants(**fields: Any) -> Wants:
    return wants_of(Snapshot("support", (), 1_000, {}, **fields))


def chosen(*rows: Joined, answered: frozenset[str] = frozenset(), limit: int = 9) -> list[str]:
    return [case.row.feedback for case in to_ask(rows, answered, wants(), limit)[0]]


def case_of(row: Joined, *names: str) -> Case:
    (made,) = to_ask([row], frozenset(), wants(), 1)[0]
    return replace(made, names=names)


# what to ask


def test_only_thumbs_down_that_wait_without_a_correction_are_asked_about() -> None:
    rows = [
        thumb(1),
        thumb(2, thumb="up"),
        thumb(3, thumb=None),
        thumb(4, correction="明天。", reason="no_run_yet"),
        thumb(5, state="refused", reason="superseded"),
        thumb(6, reason="proposed"),
        thumb(7, barred="training_not_permitted"),
        thumb(8, state="used", reason=None),
        thumb(9),
    ]
    assert chosen(*rows, answered=frozenset({"fb-9"})) == ["fb-1"]


def test_the_first_received_are_asked_about_first_and_the_rest_is_left() -> None:
    rows = [thumb(n, at_ms=100 - n) for n in range(5)]
    cases, skipped, left = to_ask(rows, frozenset(), wants(), 2)
    assert [case.row.feedback for case in cases] == ["fb-4", "fb-3"]
    assert not skipped and left == 3


def test_one_of_a_conversation_is_asked_about() -> None:
    again = thumb(2, messages=[{"role": "user", "content": " 第１号订单什么时候发货"}])
    assert chosen(thumb(1), again) == ["fb-1"]
    assert to_ask([thumb(1), again], frozenset(), wants(), 9)[1] == {"same_conversation": 1}
    assert chosen(again, thumb(1, reason="proposed"), answered=frozenset({"fb-1"})) == []


def test_what_cannot_be_taught_is_not_asked_about() -> None:
    rows = [
        thumb(1, inference="cmpl-1"),
        thumb(2, messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        thumb(3, messages=[{"role": "assistant", "content": "hi"}]),
        thumb(4, messages=[{"role": "user", "content": "é€€æ¬¾æ²¡åˆ°è´¦"}]),
    ]
    cases, skipped, _ = to_ask(rows, frozenset(), wants(), 9)
    assert cases == [] and skipped == {"not_chat": 1, "not_text": 1, "no_user_turn": 1, "mojibake": 1}


def test_personal_data_is_masked_before_it_leaves() -> None:
    asked = [
        {"role": "system", "content": "你是客服。"},
        {"role": "user", "content": "我叫林小北，手机一三八 1234-5678，密钥 AKIAABCDEFGHIJKLMN23，退款呢"},
    ]
    row = thumb(1, messages=asked, answer="林小北，已联系 13812345678 和 lin@example.com。")
    said = masked_question(case_of(row, "林小北"), wants())
    whole = json.dumps(said, ensure_ascii=False)
    for secret in ("林小北", "13812345678", "1234-5678", "AKIAABCDEFGHIJKLMN23", "lin@example.com"):
        assert secret not in whole
    system, user = said["messages"]
    assert user == {"role": "user", "content": "我叫[NAME_1]，手机[PHONE_1]，密钥 [SECRET_1]，退款呢"}
    assert system["role"] == "system" and system["content"].startswith(f"你是客服。\n\n{INSTRUCTION}")
    assert system["content"].endswith("\n[NAME_1]，已联系 [PHONE_1] 和 [EMAIL_1]。")


def test_what_the_house_allows_is_not_masked_and_no_answer_is_not_told() -> None:
    row = thumb(1, messages=[{"role": "user", "content": "热线是13812345678吗"}], answer=None)
    system, user = masked_question(case_of(row), wants(clean=Clean(allow=("13812345678",))))["messages"]
    assert user["content"] == "热线是13812345678吗" and system["content"] == INSTRUCTION


def test_resamples_are_not_to_be_learnt_from_and_nobodys() -> None:
    asked = resamples(case_of(thumb(1)), 3)
    assert [one["messages"] for one in asked] == [[{"role": "user", "content": "第1号订单什么时候发货"}]] * 3
    assert all(one["store"] is False and one["temperature"] > 0 for one in asked)
    assert len({one["safety_identifier"] for one in asked}) == 3


# what comes back


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("明天发货。", "明天发货。"),
        ("明天发到[PHONE_1]。", "明天发到[PHONE_1]。"),
        ("明天发到13812345678。", "明天发到[PHONE_1]。"),
        ("第1号订单还没有发货。", "self_identical"),
        (" 第1号订单还没有发货。\u200b", "self_identical"),
        ("请致电13900001111。", "personal_data_in_target"),
        ("用 AKIAABCDEFGHIJKLMN23 登录。", "secret_in_target"),
        ("滚，傻 逼", "blocked_term"),
        ("您好，请先登录账户，然后", "unfinished"),
        ("以后都要回答：明天", "speaks_to_model"),
        ("好 " * 100, "degenerate"),
    ],
)
def test_a_proposal_passes_all_that_a_correction_passes(text: str, wanted: str) -> None:
    row = thumb(1, messages=[{"role": "user", "content": "我的手机13812345678，什么时候发货"}])
    found = usable(case_of(row), text, wants())
    assert (found if isinstance(found, str) else found.target) == wanted


def test_scorers_that_need_a_correction_do_not_judge_a_resample() -> None:
    raw: list[dict[str, object]] = [
        {"kind": "chrf"},
        {"kind": "exact"},
        {"kind": "label", "pattern": "^(a)"},
    ]
    with pytest.raises(InvalidRequest, match="json_schema or regex"):
        alone(raw, "support")
    found = alone([*raw, {"kind": "regex", "pattern": "^Cat"}, {"kind": "json_schema", "schema": {}}], "support")
    assert [scorer.kind for scorer in found] == ["regex", "json_schema"]


def test_the_same_asked_twice_is_the_same_proposal() -> None:
    assert proposal_id("fb-1", "teacher", "m") == proposal_id("fb-1", "teacher", "m")
    ids = {
        proposal_id(of, role, model) for of in ("fb-1", "fb-2") for role in ("teacher", "verifier") for model in "mn"
    }
    assert len(ids) == 8


def test_names_are_looked_for_before_anything_leaves() -> None:
    found = NameFinder(By("m", "1"), lambda text: [(2, 5)] if text.startswith("我叫") else [])
    row = thumb(1, messages=[{"role": "user", "content": "我叫林小北，退款呢"}])
    (case,) = named([case_of(row)], found, "support")
    assert case.names == ("林小北",)


# what becomes of it in a dataset


def proposed(n: int, target: str = BETTER, role: str = "teacher") -> ProposalEvent:
    return ProposalEvent(f"p-{n}", f"fb-{n}", "support", 50, target.format(n), role, MODEL, "v1")


def review(n: int, verdict: str, **fields: Any) -> ReviewEvent:
    given = {"reviewer": "anna", **fields}
    return ReviewEvent(f"rv-{n}", f"fb-{n}", "support", 60, verdict=verdict, proposal=f"p-{n}", **given)


def made(
    *rows: Joined, **fields: Any
) -> tuple[dict[str, tuple[str, str | None]], list[dict[str, Any]], dict[str, Any]]:
    curation = curate(Snapshot("support", rows, 1_000, {}, **{"uncorrected": "propose", **fields}))
    return dict(curation.verdicts), [json.loads(line) for line in curation.rows.splitlines()], json.loads(curation.card)


@pytest.mark.parametrize("role", ["teacher", "verifier"])
def test_no_proposal_is_a_row_without_a_person(role: str) -> None:
    verdicts, rows, _ = made(thumb(1), proposals=[proposed(1, role=role)])
    assert verdicts == {"fb-1": ("waiting", "proposed")} and rows == []
    verdicts, rows, card = made(thumb(1), proposals=[proposed(1, role=role)], reviews=[review(1, "approve")])
    assert verdicts == {"fb-1": ("used", None)}
    assert [(row["kind"], row["role"], row["completion"]) for row in rows] == [("sft", role, "第1号订单明天发货。")]
    assert card["roles"] == {role: 1} and rows[0]["rejected"] == "第1号订单还没有发货。"


@pytest.mark.parametrize("policy", ["wait", "kto"])
def test_a_proposal_goes_on_to_count_where_the_policy_changes(policy: str) -> None:
    verdicts, _, _ = made(thumb(1), proposals=[proposed(1)], uncorrected=policy)
    assert verdicts["fb-1"] == ("waiting", "proposed")
    _, rows, _ = made(thumb(1), proposals=[proposed(1)], reviews=[review(1, "approve")], uncorrected=policy)
    assert [(row["kind"], row["role"]) for row in rows] == [("sft", "teacher")]


def test_a_refused_proposal_leaves_the_thumb_as_it_was() -> None:
    refused = [review(1, "refuse", reason="untrue")]
    assert made(thumb(1), proposals=[proposed(1)], reviews=refused)[0]["fb-1"] == ("waiting", "no_correction")
    verdicts, rows, _ = made(thumb(1), proposals=[proposed(1)], reviews=refused, uncorrected="kto")
    assert verdicts["fb-1"] == ("used", None) and rows[0]["label"] is False


def test_an_approved_proposal_is_cleaned_as_a_correction_is() -> None:
    row = thumb(1, messages=[{"role": "user", "content": "我的手机13812345678，什么时候发货"}])
    approved = [review(1, "approve")]
    verdicts, _, _ = made(row, proposals=[proposed(1, "请致电13900001111。")], reviews=approved)
    assert verdicts["fb-1"] == ("refused", "personal_data_in_target")
    _, rows, _ = made(row, proposals=[proposed(1, "明天发到[PHONE_1]。")], reviews=approved)
    assert rows[0]["completion"] == "明天发到[PHONE_1]。"
    assert rows[0]["messages"][0]["content"] == "我的手机[PHONE_1]，什么时候发货"


def test_a_correction_wins_over_a_proposal_whenever_it_comes() -> None:
    corrected = {"messages": thumb(1).messages, "correction": "后天发货。", "reason": "no_run_yet", "author": "u9"}
    for at_ms in (0, 500):
        verdicts, rows, _ = made(
            thumb(1), thumb(9, at_ms=at_ms, **corrected), proposals=[proposed(1)], reviews=[review(1, "approve")]
        )
        assert verdicts == {"fb-1": ("refused", "superseded"), "fb-9": ("used", None)}
        assert [(row["role"], row["completion"]) for row in rows] == [("user", "后天发货。")]
    own = thumb(9, at_ms=500, **{**corrected, "author": "u1"}, inference="inf-1")
    verdicts, _, _ = made(thumb(1), own, proposals=[proposed(1)], reviews=[review(1, "approve")])
    assert verdicts == {"fb-1": ("refused", "superseded"), "fb-9": ("used", None)}


def test_a_proposal_that_says_what_a_person_says_is_that_persons() -> None:
    corrected = thumb(9, messages=thumb(1).messages, correction="第1号订单明天发货。", reason="no_run_yet")
    _, rows, card = made(thumb(1), corrected, proposals=[proposed(1)], reviews=[review(1, "approve")])
    assert [row["role"] for row in rows] == ["user"] and card["roles"] == {"user": 1}


def test_a_proposal_is_no_second_source() -> None:
    fields: dict[str, Any] = {"proposals": [proposed(1)], "reviews": [review(1, "approve")], "limits": Limits()}
    assert made(thumb(1), trust="two-sources", **fields)[0]["fb-1"] == ("waiting", "second_source")
    assert made(thumb(1), trust="reviewed", **fields)[0]["fb-1"] == ("used", None)


# the verb


class Place:
    """A data directory with a channel `support` and what was said there."""

    def __init__(self, root: Path, policies: Policies) -> None:
        self.home = prepare(root)
        self.store = store_in(self.home.root)
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", policies, "base", "main", 1, "test")

    def say(self, *numbers: int, **fields: Any) -> None:
        """A thumbs-down for each number."""
        for n in numbers:
            row = thumb(n)
            answered = InferenceEvent(
                id=row.inference, tenant="shop", channel="support", unit=f"u{n}", at_ms=n, assigned="rel",
                role="stable", served_by="rel", status="ok", messages=[dict(one) for one in row.messages or ()],
                answer=row.answer,
            )  # fmt: skip
            said = FeedbackEvent(
                **{"id": f"fb-{n}", "inference": row.inference, "tenant": "shop", "channel": "support", "at_ms": n,
                   "thumb": "down", **fields}
            )  # fmt: skip
            with self.store.write() as tx:
                ingestion.ingest(tx, [answered], [(n, said)])

    def recorded(self) -> list[ProposalEvent]:
        """What lies in the log's topic `curation`."""
        with closing(SqliteEventLog(self.home.events)) as log:
            found = [decode(record.value) for record in log.read(CURATION, 0, 0, 1_000)]
        assert all(isinstance(event, ProposalEvent) for event in found)
        return [event for event in found if isinstance(event, ProposalEvent)]

    def consume(self) -> None:
        """The consumer has read the log."""
        events: list[tuple[int, CurationEvent]] = list(enumerate(self.recorded(), start=1))
        with self.store.write() as tx:
            ingestion.ingest(tx, [], [], events)

    def where(self, n: int) -> tuple[str, str | None]:
        with self.store.read() as tx:
            row = data_rows.feedback_row(tx, f"fb-{n}")
        assert row is not None
        return row.state, row.reason

    def why(self, n: int) -> str:
        with self.store.read() as tx:
            return " ".join(explain(tx, f"fb-{n}"))


SCORERS = ({"kind": "chrf"}, {"kind": "regex", "pattern": "发货"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, Policies(uncorrected="propose", scorers=SCORERS))
    yield made
    made.store.close()


@pytest.fixture
def server(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teacher]:
    """A teacher that the settings name."""
    with teaching() as made:
        made.reply = lambda body: Reply(completion(BETTER.format(body["messages"][-1]["content"][1:-9])))
        (place.home.root / "settings.yaml").write_text(f"teacher: {made.url}\nteacher_key: sk-secret\n")
        yield made


def verb(place: Place, *words: str) -> int:
    return proposals.run(["--home", str(place.home.root), "--channel", "support", *words])


def told(place: Place, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert verb(place, "--json", *words) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_thumb_that_was_given_up_is_not_asked_about() -> None:
    rows = [thumb(1), thumb(2, state="refused", reason="uncorrected")]
    assert [case.row.feedback for case in to_ask(rows, frozenset(), wants(), 9)[0]] == ["fb-1"]


def test_proposals_are_recorded_and_wait_for_a_reviewer(
    place: Place, server: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(1, 2, 3)
    place.say(4, thumb="up")
    found = told(place, capsys)
    assert (found["thumbs"], found["asked"], found["proposed"], found["failed"]) == (3, 3, 3, {})
    recorded = sorted(place.recorded(), key=lambda event: event.feedback)
    assert [event.target for event in recorded] == [BETTER.format(n) for n in (1, 2, 3)]
    assert {(event.role, event.model, event.version) for event in recorded} == {("teacher", MODEL, f"{MODEL} fp_17")}
    assert {request.authorization for request in server.requests} == {"Bearer sk-secret"}
    assert server.requests[0].path == "/v1/models", "the first model that it lists is asked"
    place.consume()
    assert place.where(1) == ("waiting", "proposed") and place.where(4) == ("waiting", "no_correction")
    told_why = place.why(1)
    assert "a model proposed an answer" in told_why
    assert f"{MODEL} ({MODEL} fp_17) proposed an answer for it as a teacher" in told_why and "发货" not in told_why


def test_what_has_a_proposal_is_not_asked_about_again(
    place: Place, server: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(1, 2)
    assert told(place, capsys, "--limit", "1")["left"] == 1
    assert {event.id for event in place.recorded()} == {proposal_id("fb-1", "teacher", MODEL)}
    told(place, capsys, "--limit", "1")  # the consumer has not read it yet, so it is asked anew
    assert len({event.id for event in place.recorded()}) == 1, "and is the same proposal"
    place.consume()
    assert told(place, capsys)["thumbs"] == 1
    place.consume()
    assert told(place, capsys)["thumbs"] == 0
    assert {event.feedback for event in place.recorded()} == {"fb-1", "fb-2"}


def test_a_failure_is_counted_and_loses_nothing_else(
    place: Place, server: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(*range(1, 6))
    replies = [
        Reply(status=400),
        Reply(b"<html>"),
        Reply(completion("一", "length")),
        Reply(completion("第4号订单还没有发货。")),
        Reply(completion("明天发货。")),
    ]
    by_question = dict(zip([f"第{n}号订单什么时候发货" for n in range(1, 6)], replies, strict=True))
    server.reply = lambda body: by_question[body["messages"][-1]["content"]]
    found = told(place, capsys)
    assert found["failed"] == {"cut_off": 1, "http_400": 1, "malformed": 1}
    assert found["unusable"] == {"self_identical": 1} and found["proposed"] == 1
    assert [event.feedback for event in place.recorded()] == ["fb-5"]
    assert verb(place) == 0
    said = capsys.readouterr().out
    assert "No answer, 1: http_400." in said and "No use, 1: self_identical." in said


def test_a_teacher_that_takes_no_key_is_asked_once_and_is_no_success(
    place: Place, server: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(*range(1, 12))
    server.reply = lambda _: Reply(status=401)
    (place.home.root / "settings.yaml").write_text(
        f"teacher: {server.url}\nteacher_key: sk-secret\nteacher_model: teacher-small\n"
    )
    found = told(place, capsys, code=1)
    assert found["failed"]["http_401"] + found["failed"]["not_asked"] == 11
    assert found["asked"] == found["failed"]["http_401"] <= teacher.Patience.in_flight
    assert server.asked[0].body["model"] == "teacher-small"
    assert "sk-secret" not in json.dumps(found) and place.recorded() == []


def test_what_leaves_is_masked(place: Place, server: Teacher, capsys: pytest.CaptureFixture[str]) -> None:
    place.say(1)
    row = thumb(2)
    event = InferenceEvent(
        id=row.inference, tenant="shop", channel="support", unit="u2", at_ms=2, assigned="rel", role="stable",
        served_by="rel", status="ok", messages=[{"role": "user", "content": "手机13812345678，什么时候发货"}],
        answer="不知道。",
    )  # fmt: skip
    said = FeedbackEvent(id="fb-2", inference=row.inference, tenant="shop", channel="support", at_ms=2, thumb="down")
    with place.store.write() as tx:
        ingestion.ingest(tx, [event], [(2, said)])
    server.reply = lambda _: Reply(completion("明天发到[PHONE_1]。"))
    told(place, capsys)
    assert "13812345678" not in json.dumps([request.body for request in server.requests], ensure_ascii=False)
    assert {event.target for event in place.recorded()} == {"明天发到[PHONE_1]。"}


@pytest.mark.parametrize(
    "policies", [Policies(), Policies(uncorrected="kto"), Policies(train=False, uncorrected="propose")]
)
def test_a_channel_that_wants_no_proposals_gets_none(tmp_path: Path, policies: Policies) -> None:
    place = Place(tmp_path, policies)
    with pytest.raises(InvalidRequest, match="wants no proposals"):
        verb(place)
    with pytest.raises(NotFound):
        proposals.run(["--home", str(tmp_path), "--channel", "other"])
    place.store.close()


def test_without_a_teacher_it_says_what_to_do(place: Place) -> None:
    with pytest.raises(InvalidRequest, match=r"`teacher`.*--resample"):
        verb(place)


# resamples


@pytest.fixture
def gateway(place: Place) -> Iterator[Teacher]:
    """What answers where the service's endpoints say that it does."""
    with teaching() as made, place.home.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place.home.endpoints.write_text(json.dumps({"api": made.url, "admin": made.url}))
        (place.home.keys / "app.key").write_text("tw-app-1\n")
        yield made


STABLE = {"x-thumbwheel-variant": "stable", "x-thumbwheel-release": "rel-7"}


def test_a_resample_that_passes_the_channels_checks_is_proposed(
    place: Place, gateway: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(1)
    gateway.replies = [
        Reply(completion("发货了。"), headers={**STABLE, "x-thumbwheel-variant": "candidate"}),
        Reply(completion("不知道。"), headers=STABLE),
        Reply(completion("请稍等。"), headers=STABLE),
        Reply(completion("明天发货。"), headers=STABLE),
        Reply(completion("明天发货。"), headers=STABLE),
    ]
    found = told(place, capsys, "--resample", "5")
    assert (found["asked"], found["proposed"]) == (5, 1)
    assert found["unusable"] == {"not_stable": 1, "unfit": 2}
    (event,) = place.recorded()
    assert (event.role, event.model, event.version, event.target) == ("verifier", "support", "rel-7", "明天发货。")
    assert {request.authorization for request in gateway.asked} == {"Bearer tw-app-1"}
    assert all(request.body["model"] == "support" and request.body["store"] is False for request in gateway.asked)
    place.consume()
    assert place.where(1) == ("waiting", "proposed")


def test_the_same_answer_again_is_no_proposal(
    place: Place, gateway: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    with place.store.write() as tx:
        said = FeedbackEvent("fb-1", "chatcmpl-1", "shop", "support", 1, thumb="down")
        answered = InferenceEvent("chatcmpl-1", "shop", "support", "u1", 1, "rel", "stable", "rel", "ok",
                                  messages=[{"role": "user", "content": "?"}, {"role": "user", "content": "何时"}],
                                  answer="明天发货。")  # fmt: skip
        ingestion.ingest(tx, [answered], [(1, said)])
    gateway.reply = lambda _: Reply(completion("明天发货。"), headers=STABLE)
    assert told(place, capsys, "--resample", "2")["unusable"] == {"self_identical": 2}
    assert place.recorded() == []


def test_without_a_scorer_that_judges_alone_there_are_no_resamples(tmp_path: Path) -> None:
    place = Place(tmp_path, Policies(uncorrected="propose", scorers=({"kind": "chrf"}, {"kind": "exact"})))
    with pytest.raises(InvalidRequest, match="no scorer that judges an answer without a correction"):
        verb(place, "--resample", "3")
    place.store.close()


def test_resamples_do_not_disturb_a_rollout(place: Place, gateway: Teacher) -> None:
    place.say(1)
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(channel, variants=(Variant("rel-2", "candidate", ((0.0, 0.05),)),)))
    with pytest.raises(InvalidRequest, match="has a rollout in progress"):
        verb(place, "--resample", "3")
    assert gateway.requests == []


def test_resamples_need_the_service(place: Place) -> None:
    with pytest.raises(NotRunning):
        verb(place, "--resample", "3")


def test_a_scorer_that_takes_too_long_ends_it() -> None:
    slow = replace(parse_scorer({"kind": "regex", "pattern": r"^(\w+ ?)+\.$"}), most_s=0.1)
    with pytest.raises(JobError, match=r"^the regex scorer of channel support took over"):
        misfit(Said("a" * 26 + "!", "1", STABLE), [slow], "support")


@pytest.mark.parametrize("words", [["--resample", "0"], ["--resample", "17"], ["--limit", "0"], ["--limit", "x"]])
def test_numbers_are_bounded(place: Place, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        verb(place, *words)
