"""What a client of the benchmark makes of a stream and of a refusal."""

from __future__ import annotations

import json

import pytest

from bench.release_load import Reader, refusal


def chunk(content: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": content}}]})


def read(*lines: str) -> Reader:
    reader = Reader()
    for at, line in enumerate(lines):
        reader.take(line, float(at))
    return reader


def test_a_stream_is_whole_with_done_and_its_first_token_is_its_first_text() -> None:
    reader = read(
        chunk(""), "", chunk(" ox"), 'data: {"choices": [], "usage": {"completion_tokens": 1}}', "data: [DONE]"
    )
    assert (reader.end, reader.first, reader.tokens, reader.parts) == ("whole", 2.0, 1, ["", " ox"])


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (['data: {"error": {"message": "gone"}}'], "error event"),
        (['data: {"error": {"message": "gone"}}', "data: [DONE]"], "[DONE] after an error"),
        ([], "ended without [DONE] or an error"),
    ],
)
def test_a_stream_that_breaks_off_says_how(last: list[str], end: str) -> None:
    assert read(chunk(" ox"), *last).end == end


def test_a_refusal_is_clean_only_as_the_interface_has_it() -> None:
    shaped = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": None}})
    assert refusal(503, {"retry-after": "1"}, shaped) == "503"
    assert refusal(503, {}, shaped) == "status 503"
    assert refusal(503, {"retry-after": "1"}, "<html>") == "status 503, not in OpenAI's shape"
    assert refusal(500, {"retry-after": "1"}, shaped) == "status 500"
