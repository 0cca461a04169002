from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from feedback import embedding, freeze, meaning
from feedback.capture import take_snapshot
from feedback.curate import curate
from feedback.embedding import EMBEDDINGS, Embedded, Embedder, embedder
from feedback.hard_negatives import TEXTS
from feedback.replay import SAME
from feedback.teacher import Failed, Patience, Server, read
from tests.teacher import Reply, Teacher, teaching
from tests.unit.feedback.site import NOW_MS, Site, feedback, inference
from tests.unit.feedback.test_meaning import vector
from thumbwheel.cli import main
from thumbwheel.erasing.job import forget
from thumbwheel.erasure import person_of
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, ComputedEvent, ErasureEvent, Event, decode
from thumbwheel.home import read_secret
from thumbwheel.records import Run
from thumbwheel.settings import Settings
from thumbwheel.store import curation_rows, release_rows

MODEL, VERSION = "bge-small", "bge-small fp_1"
QUICK = Patience(in_flight=2, timeout_s=5.0, tries=2, first_wait_s=0.0, most_wait_s=0.0, in_a_row=3)
SIGNS = "春云海树鱼鸟歌画诗梦雪窗灯书笔纸墨琴棋茶酒米面糖盐油酱醋瓜豆花草木石沙泥雨露霜雾雷电"


def body(vectors: Sequence[Sequence[float]], fingerprint: str = "fp_1") -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": list(one)} for at, one in enumerate(vectors)]
    data.reverse()  # the order is by index
    return json.dumps({"object": "list", "data": data, "model": MODEL, "system_fingerprint": fingerprint}).encode()


def embedding_of(said: Any) -> Reply:
    return Reply(body([vector(text) for text in said["input"]]))


@pytest.fixture
def server() -> Iterator[Teacher]:
    with teaching() as made:
        made.reply = embedding_of
        yield made


class Reading(SqliteEventLog):
    """A log whose consumer reads what is appended at once."""

    def __init__(self, place: Site) -> None:
        super().__init__(place.home.events)
        self.place = place

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        super().append(topic, records, durable=durable)
        self.place.read()


class Pool:
    """A data directory whose questions come twice each, in other words, and a server beside it."""

    def __init__(self, root: Path, server: Teacher) -> None:
        self.site, self.server = Site(root), server
        self.log = Reading(self.site)
        self.embeds = Embedder(Server(server.url, MODEL), self.log, QUICK, "sk-secret")

    def close(self) -> None:
        self.log.close()
        self.site.close()

    def more(self) -> None:
        """Ten questions more."""
        self.site.say(*talk(range(70, 80)))
        self.site.read()

    def freeze(self) -> dict[str, Any]:
        self.dataset = self.site.freeze(embeds=self.embeds)
        card: dict[str, Any] = json.loads((self.site.artifacts.path(self.dataset) / "card.json").read_text())
        return card

    def shown(self, capsys: pytest.CaptureFixture[str]) -> str:
        """What `dataset show` says of it."""
        assert main(["dataset", "show", self.dataset, "--home", str(self.site.home.root)]) == 0
        return capsys.readouterr().out

    def events(self) -> list[ComputedEvent]:
        found = [decode(record.value) for record in self.log.read(CURATION, 0, 0, 10_000)]
        return [event for event in found if isinstance(event, ComputedEvent)]

    def sent(self) -> list[str]:
        """The texts that have left the house, without the probe."""
        assert {request.path for request in self.server.requests} <= {"/v1/embeddings"}
        return [text for one in self.server.requests for text in one.body["input"] if text not in TEXTS]


@pytest.fixture
def pool(tmp_path: Path, server: Teacher) -> Iterator[Pool]:
    made = Pool(tmp_path / "home", server)
    made.site.say(*talk(range(70)))
    made.site.read()
    yield made
    made.close()


def word(n: int) -> str:
    """A name for a thing, of three signs, of which two things share one at most."""
    return SIGNS[n % 40] + SIGNS[(n * 7 + 3) % 40] + SIGNS[(n * 11 + n // 40 * 17 + 5) % 40]


def asks(n: int, first: str, correction: str, message: str, **fields: Any) -> list[Event]:
    messages = [{"role": "user", "content": message}]
    return [inference(n, messages=messages, **fields), feedback(n, first, correction=correction)]


def talk(numbers: range) -> list[Event]:
    """Of each number a question and an answer, and of the first ten the same again, in other words."""
    events: list[Event] = []
    for n in numbers:
        events += asks(n, f"fb-{n}", f"{word(n)}要到{word(n + 7)}去办", f"{word(n)}怎么领，打138{n:08}行吗")
        if n < 10:
            events += asks(
                n + 500, f"fb-{n}-again", f"要去{word(n + 7)}办{word(n)}的，到那", f"打138{n:08}行吗，如何领{word(n)}"
            )
    return events


# what an answer says


def test_an_answer_is_by_index() -> None:
    assert read(EMBEDDINGS, 200, {}, body([[1.0, 0.5], [2, 3]])) == Embedded(((1.0, 0.5), (2.0, 3.0)), VERSION)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"<html>", b"[]", b"{}", b'{"data": 1}', b'{"data": [1]}', b'{"data": [{"index": 0}]}', b"[" * 100_000,
        b'{"data": [{"index": 0, "embedding": "AAAA"}]}', b'{"data": [{"index": 0, "embedding": [null]}]}',
        b'{"data": [{"index": 1, "embedding": [1]}]}', b'{"data": [{"index": "x", "embedding": [1]}]}', b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_answer(raw: bytes) -> None:
    assert read(EMBEDDINGS, 200, {}, raw) == Failed("malformed")
    assert read(EMBEDDINGS, 503, {}, raw) == Failed("http_503", passing=True)


# a run


def test_rows_that_say_the_same_in_other_words_are_one_and_a_replay_gives_the_same_bytes(
    pool: Pool, tmp_path: Path
) -> None:
    card = pool.freeze()
    assert card["embeddings_by"] == {"model": MODEL, "version": VERSION}
    assert card["refused"] == {"semantic_duplicate": 10} and card["rows"] == 70 and card["merged"] == 10
    told = card["semantic"]
    assert (told["off"], told["rows"], told["without"], told["merged"]) == (None, 80, 0, 10)
    places = (pool.site.artifacts.path(pool.dataset) / "reasons.jsonl").read_text().splitlines()
    assert {json.loads(line)["feedback"] for line in places} == {f"fb-{n}-again" for n in range(10)}
    requests = len(pool.server.requests)
    assert pool.site.replay(pool.dataset, tmp_path / "again").status == SAME
    assert len(pool.server.requests) == requests, "a replay asks nobody"


def test_texts_leave_the_house_redacted_and_once(pool: Pool) -> None:
    pool.freeze()
    sent = pool.sent()
    assert len(sent) == 160 and all("[PHONE_1]" in text for text in sent[::2]) and not any("138" in one for one in sent)
    assert {request.authorization for request in pool.server.requests} == {"Bearer sk-secret"}
    assert {request.body["model"] for request in pool.server.requests} == {MODEL}
    assert all(len(request.body["input"]) <= 2 * embedding.AT_ONCE for request in pool.server.requests)
    pool.more()
    card = pool.freeze()
    assert len(pool.sent()) == 180 and card["semantic"]["rows"] == 90, "the new ones alone"
    events = pool.events()
    assert len(events) == len({event.id for event in events}) == 90 and {event.what for event in events} == {
        "embedding"
    }


def test_another_version_is_another_model(pool: Pool) -> None:
    pool.freeze()
    pool.server.reply = lambda said: Reply(body([vector(text) for text in said["input"]], "fp_2"))
    card = pool.freeze()
    assert card["embeddings_by"]["version"] == "bge-small fp_2" and len(pool.events()) == 160


def test_without_a_server_the_run_goes_on_and_the_card_says_why(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.server.reply = lambda _: Reply(status=503)
    with caplog.at_level(logging.WARNING):
        card = pool.freeze()
    assert card["embeddings_by"] is None and card["semantic"]["off"] == "http_503" and card["rows"] == 80
    assert "not looked for (http_503)" in pool.shown(capsys)
    assert len(pool.server.requests) == QUICK.tries and "no embeddings (http_503)" in caplog.text
    assert pool.site.replay(pool.dataset, tmp_path / "again").status == SAME
    pool.server.reply = embedding_of
    pool.more()
    assert pool.freeze()["merged"] == 10, "the next run has them"


def test_a_server_that_goes_leaves_rows_without_and_the_next_run_asks_for_these(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = [0]

    def some(said: Any) -> Reply:
        answered[0] += 1
        return embedding_of(said) if answered[0] <= 3 else Reply(hangs_up=True)

    pool.server.reply = some
    card = pool.freeze()
    kept = len(pool.events())
    assert card["embeddings_by"] is not None and kept == 32
    assert (card["semantic"]["rows"], card["semantic"]["without"]) == (32, 48)
    assert "48 rows have no embeddings" in pool.shown(capsys)
    assert pool.site.replay(pool.dataset, tmp_path / "again").status == SAME
    pool.server.reply, sent = embedding_of, len(pool.sent())
    pool.more()
    assert pool.freeze()["semantic"]["rows"] == 90 and len(pool.sent()) - sent == 2 * (90 - kept)


def test_a_killed_job_goes_on_where_it_was(pool: Pool) -> None:
    class Killed(Exception):
        pass

    class Mortal(Reading):
        left = 2

        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1
            super().append(topic, records, durable=durable)

    mortal = Mortal(pool.site)
    with pytest.raises(Killed):
        pool.site.freeze(embeds=Embedder(Server(pool.server.url, MODEL), mortal, QUICK))
    mortal.close()
    kept = len(pool.events())
    assert kept == 32
    pool.server.requests.clear()
    assert pool.freeze()["rows"] == 70 and len(pool.sent()) == 2 * (80 - kept)


def test_a_dataset_waits_until_the_store_knows_what_was_recorded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a consumer that reads a while later."""
    log = SqliteEventLog(pool.site.home.events)
    monkeypatch.setattr(pool.site, "sleep", lambda _: pool.site.read())
    pool.embeds = Embedder(Server(pool.server.url, MODEL), log, QUICK)
    assert pool.freeze()["semantic"]["merged"] == 10
    log.close()


def test_a_text_that_a_server_refuses_keeps_no_other_from_being_compared(pool: Pool) -> None:
    def picky(said: Any) -> Reply:
        return (
            Reply(status=413) if any(word(3) in text and "领" in text for text in said["input"]) else embedding_of(said)
        )

    pool.server.reply = picky
    card = pool.freeze()
    assert card["semantic"]["without"] == 2 and card["refused"] == {"semantic_duplicate": 9}
    assert len(pool.events()) == 78


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda said: Reply(body([vector(text) for text in said["input"]][1:])), "malformed"),
        (lambda said: Reply(body([[0.0, 0.0] for _ in said["input"]])), "malformed"),
        (lambda said: Reply(body([vector(text) for text in said["input"]], "fp_other")), "another_version"),
        (lambda said: Reply(status=400), "http_400"),
        (lambda said: Reply(status=401), "http_401"),
    ],
)
def test_what_is_of_no_use_is_not_recorded(
    pool: Pool, caplog: pytest.LogCaptureFixture, reply: Callable[[Any], Reply], reason: str
) -> None:
    pool.server.reply = lambda said: embedding_of(said) if said["input"] == list(TEXTS) else reply(said)
    with caplog.at_level(logging.WARNING):
        card = pool.freeze()
    assert pool.events() == [] and card["semantic"]["off"] == "too_few" and card["rows"] == 80
    assert "80 of 80 rows go without" in caplog.text and reason in caplog.text
    assert len(pool.server.requests) <= 2 + 5 * QUICK.tries, "what is refused whole is not asked for one by one"


def test_what_was_recorded_of_somebody_who_is_erased_is_gone_and_the_rest_is_made_again(
    pool: Pool, tmp_path: Path
) -> None:
    pool.freeze()
    theirs = [event for event in pool.events() if event.feedback == "fb-3"]
    assert len(theirs) == 1 and theirs[0].value
    with pool.site.store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        taken = {"as_of_ms": NOW_MS, "window_ms": 10**9, "embeddings_by": meaning.By(MODEL, VERSION)}
        before = take_snapshot(tx, pool.site.artifacts, channel, None, **taken)
    assert curate(before).verdicts["fb-3-again"] == ("refused", "semantic_duplicate")
    secret = read_secret(pool.site.home)
    pool.site.say(ErasureEvent("er-1", NOW_MS, "test", "shop", person_of(secret, "shop", "u3")))
    pool.site.read()
    left_out = pool.site.replay(pool.dataset, tmp_path / "first").erased
    assert left_out == 3, "the inference, the feedback and the vectors"
    forget(pool.site.store, pool.log, pool.site.artifacts, pool.site.home, secret, lambda: NOW_MS)
    with pool.site.store.read() as tx:
        kept = curation_rows.on_feedback(tx, "fb-3", ComputedEvent)
        after = take_snapshot(tx, pool.site.artifacts, channel, None, **taken)
    assert [event.value for event in kept] == [None]
    assert curate(after).verdicts["fb-3-again"] == ("used", None), "it stands for itself now"
    assert pool.site.replay(pool.dataset, tmp_path / "again").erased == 2, "of the vectors nothing is left to leave out"


def test_the_job_asks_the_server_that_the_settings_name(pool: Pool) -> None:
    site, asked = pool.site, f"embeddings: {pool.server.url}/v1\nembeddings_model: {MODEL}\nembeddings_key: sk-geheim\n"
    (site.home.root / "settings.yaml").write_text(asked)
    pool.server.reply = lambda _: Reply(status=401)
    with site.store.write() as tx:
        row = Run("run-j", "support", "curating", {}, None, None, None, (), {}, "test", 1, 1, 1, 1)
        release_rows.insert_run(tx, row)
    assert freeze.run(["run-j", "--home", str(site.home.root)]) == 0
    with site.store.read() as tx:
        made = str(release_rows.get_run(tx, "run-j").dataset)
    assert json.loads((site.artifacts.path(made) / "card.json").read_text())["semantic"]["off"] == "http_401"
    (request,) = pool.server.requests
    assert (request.path, request.authorization) == ("/v1/embeddings", "Bearer sk-geheim")


def test_settings_make_an_embedder(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    assert embedder(Settings(home=tmp_path), log) is None
    told = {"embeddings": "http://127.0.0.1:1/v1", "embeddings_model": "m", "embeddings_key": "sk-geheim"}
    made = embedder(Settings(home=tmp_path, embeddings_timeout_s=7.0, **told), log)  # type: ignore[arg-type]
    assert made is not None and made.server == Server("http://127.0.0.1:1/v1", "m") and made.key == "sk-geheim"
    assert made.patience.timeout_s == 7.0 and "geheim" not in repr(made)
    assert asyncio.run(embedding._probe(Embedder(made.server, log, QUICK))) == Failed("unreachable", passing=True)
    log.close()
