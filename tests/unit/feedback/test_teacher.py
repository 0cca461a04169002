from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from feedback.teacher import CHAT, Failed, Patience, Said, Server, ask_all, client, first_model, pause_s, read
from tests.teacher import FINGERPRINT, MODEL, Reply, Teacher, completion, teaching
from thumbwheel.errors import JobError

QUICK = Patience(in_flight=2, timeout_s=5.0, tries=3, first_wait_s=1.0, most_wait_s=10.0, in_a_row=3)
QUESTION = {"messages": [{"role": "user", "content": "退款什么时候到账？"}]}
GOOD = Reply(completion("一般三天内到账。"))


@pytest.fixture(scope="module")
def server() -> Iterator[Teacher]:
    with teaching() as made:
        yield made


@pytest.fixture
def one(server: Teacher) -> Teacher:
    server.replies, server.reply, server.requests, server.most_under_way = [], None, [], 0
    server.models = [MODEL, "teacher-small"]
    return server


class Pauses:
    """Sleeps nothing, and says how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def asked(
    one: Teacher, questions: Sequence[Any], patience: Patience = QUICK, pauses: Pauses | None = None
) -> list[Said | Failed]:
    found: dict[int, Said | Failed] = {}
    async with client("sk-", patience.in_flight) as http:
        async for place, said in ask_all(http, Server(one.url, MODEL), questions, patience, pauses or Pauses()):
            assert place not in found
            found[place] = said
    return [found[place] for place in range(len(questions))]


# what an answer says


def test_an_answer_says_who_gave_it() -> None:
    assert read(CHAT, 200, {}, completion("一般三天内到账。")) == Said("一般三天内到账。", f"{MODEL} {FINGERPRINT}", {})
    plain = b'{"choices": [{"message": {"content": "Yes."}}]}'
    assert read(CHAT, 200, {"x-a": "b"}, plain) == Said("Yes.", "unknown", {"x-a": "b"})


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (200, b"", Failed("malformed")),
        (200, b"<html>", Failed("malformed")),
        (200, b"\xff\xfe", Failed("malformed")),
        (200, b"[]", Failed("malformed")),
        (200, b"null", Failed("malformed")),
        (200, b'{"choices": []}', Failed("malformed")),
        (200, b'{"choices": {}}', Failed("malformed")),
        (200, b'{"choices": ["a"]}', Failed("malformed")),
        (200, b'{"choices": [{"message": "a"}]}', Failed("malformed")),
        (200, b"[" * 100_000, Failed("malformed")),
        (200, completion(["a"]), Failed("malformed")),
        (200, completion(None, "tool_calls"), Failed("no_answer")),
        (200, completion(" \n"), Failed("no_answer")),
        (200, completion("一般三天内", "length"), Failed("cut_off")),
        (302, b"", Failed("http_302")),
        (400, completion("a"), Failed("http_400")),
        (401, b"", Failed("http_401")),
        (404, b"", Failed("http_404")),
        (429, b"", Failed("http_429", passing=True)),
        (500, b"", Failed("http_500", passing=True)),
        (503, b"", Failed("http_503", passing=True)),
    ],
)
def test_what_is_no_answer(status: int, body: bytes, wanted: Failed) -> None:
    assert read(CHAT, status, {}, body) == wanted


@pytest.mark.parametrize(
    ("asks", "wanted"),
    [("7", 7.0), ("0.5", 0.5), ("-1", None), ("nan", None), ("inf", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_a_server_may_say_how_long_to_wait(asks: str, wanted: float | None) -> None:
    assert read(CHAT, 429, {"retry-after": asks}, b"") == Failed("http_429", True, wanted)
    assert read(CHAT, 400, {"retry-after": asks}, b"") == Failed("http_400")


def test_pauses_double_and_are_bounded() -> None:
    assert [pause_s(tries, None, QUICK) for tries in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert [pause_s(1, asked_s, QUICK) for asked_s in (0.0, 3.0, 86_400.0)] == [0, 3, 10]


# asking


async def test_questions_are_asked_with_model_and_key(one: Teacher) -> None:
    (said,) = await asked(one, [QUESTION])
    assert isinstance(said, Said)
    (request,) = one.requests
    assert (request.method, request.path, request.authorization) == ("POST", "/v1/chat/completions", "Bearer sk-")
    assert request.body == {**QUESTION, "model": MODEL}


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
async def test_the_url_may_end_with_v1(one: Teacher, end: str) -> None:
    async with client(None, 1) as http:
        found = [said async for said in ask_all(http, Server(one.url + end, MODEL), [QUESTION], QUICK)]
    assert isinstance(found[0][1], Said) and one.requests[0].authorization is None


async def test_what_may_be_over_soon_is_tried_again(one: Teacher) -> None:
    one.replies = [Reply(status=503), Reply(status=429, headers={"Retry-After": "5"}), GOOD]
    pauses = Pauses()
    (said,) = await asked(one, [QUESTION], pauses=pauses)
    assert isinstance(said, Said) and said.text == "一般三天内到账。"
    assert pauses.seconds == [1, 5] and len(one.asked) == 3


async def test_tries_are_bounded(one: Teacher) -> None:
    one.reply = lambda _: Reply(status=500)
    pauses = Pauses()
    assert await asked(one, [QUESTION], pauses=pauses) == [Failed("http_500", passing=True)]
    assert len(one.asked) == QUICK.tries and pauses.seconds == [1, 2]


@pytest.mark.parametrize("reply", [Reply(status=400), Reply(b"<html>"), Reply(completion("一", "length"))])
async def test_what_will_not_be_over_is_asked_once(one: Teacher, reply: Reply) -> None:
    one.replies = [reply]
    found = await asked(one, [QUESTION, QUESTION], replace(QUICK, in_flight=1))
    assert isinstance(found[0], Failed) and isinstance(found[1], Said)
    assert len(one.asked) == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_nothing_more_is_asked_of_who_does_not_take_the_key(one: Teacher, status: int) -> None:
    one.reply = lambda _: Reply(status=status)
    found = await asked(one, [QUESTION] * 9, replace(QUICK, in_flight=1))
    assert found == [Failed(f"http_{status}"), *[Failed("not_asked")] * 8]
    assert len(one.asked) == 1


async def test_nothing_more_is_asked_where_many_in_a_row_fail(one: Teacher) -> None:
    one.reply = lambda body: GOOD if body["messages"][0]["content"] == "ok" else Reply(status=502)
    fine = {"messages": [{"role": "user", "content": "ok"}]}
    found = await asked(one, [QUESTION, QUESTION, fine, *[QUESTION] * 9], replace(QUICK, in_flight=1))
    away = Failed("http_502", passing=True)
    assert found[:2] + found[3:6] == [away] * 5 and isinstance(found[2], Said)
    assert found[6:] == [Failed("not_asked")] * 6


async def test_a_refused_question_is_no_sign_of_a_server_that_is_away(one: Teacher) -> None:
    one.reply = lambda _: Reply(status=400)
    assert await asked(one, [QUESTION] * 9) == [Failed("http_400")] * 9


async def test_no_more_requests_are_under_way_than_are_allowed(one: Teacher) -> None:
    one.reply = lambda _: replace(GOOD, delay_s=0.05)
    found = await asked(one, [QUESTION] * 8, replace(QUICK, in_flight=3))
    assert all(isinstance(said, Said) for said in found)
    assert 1 < one.most_under_way <= 3


@pytest.mark.parametrize("reply", [replace(GOOD, delay_s=30.0), Reply(b" ", drips=True)])
async def test_a_server_that_is_slow_is_not_waited_for(one: Teacher, reply: Reply) -> None:
    one.replies = [reply, reply]
    found = await asked(one, [QUESTION], replace(QUICK, timeout_s=0.2, tries=2))
    assert found == [Failed("too_slow", passing=True)] and len(one.asked) == 2


async def test_a_server_that_hangs_up_or_is_not_there_is_unreachable(one: Teacher) -> None:
    one.replies = [Reply(hangs_up=True)] * 3
    assert await asked(one, [QUESTION]) == [Failed("unreachable", passing=True)]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with client(None, 1) as http:
            away = Server(f"http://127.0.0.1:{nobody.getsockname()[1]}", MODEL)
            found = [said async for said in ask_all(http, away, [QUESTION], QUICK, Pauses())]
    assert found == [(0, Failed("unreachable", passing=True))]


async def test_an_answer_without_end_is_not_read(one: Teacher) -> None:
    one.replies = [Reply(b" " * 60, drips=True)]
    assert await asked(one, [QUESTION], replace(QUICK, most_bytes=100)) == [Failed("too_large")]


async def test_the_key_follows_no_redirect(one: Teacher) -> None:
    with teaching() as other:
        one.replies = [Reply(status=307, headers={"Location": f"{other.url}/v1/chat/completions"})]
        assert await asked(one, [QUESTION]) == [Failed("http_307")]
        assert other.requests == []


async def test_who_stops_listening_asks_nothing_more(one: Teacher) -> None:
    async with client(None, 1) as http:
        answers = ask_all(http, Server(one.url, MODEL), [QUESTION] * 50, replace(QUICK, in_flight=1))
        async with aclosing(answers):
            async for _ in answers:
                break
    assert len(one.asked) <= 2


# its models


async def test_the_first_model_is_asked_where_none_is_named(one: Teacher) -> None:
    assert await first_model(one.url, "sk-1", QUICK) == MODEL
    assert (one.requests[0].path, one.requests[0].authorization) == ("/v1/models", "Bearer sk-1")


async def test_a_server_without_models_is_said(one: Teacher) -> None:
    one.models = []
    with pytest.raises(JobError, match="teacher_model"):
        await first_model(one.url, None, QUICK)
    with pytest.raises(JobError, match="does not answer"):
        await first_model("http://127.0.0.1:1", None, QUICK)
