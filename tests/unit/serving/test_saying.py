"""What a feedback may hold, and when two of them say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.saying import CONTENT, parse_feedback
from thumbwheel.errors import InvalidRequest
from thumbwheel.ids import feedback_id


def test_everything_at_once() -> None:
    said = parse_feedback(
        {
            "inference_id": "chatcmpl-1",
            "thumb": "down",
            "score": 0,
            "comment": "no",
            "correction": "yes",
            "tags": ["a", "b"],
            "metrics": {"solved": True, "seconds": 3.5},
            "author": "expert",
        }
    )
    assert (said.thumb, said.score, said.tags, said.metrics["solved"]) == ("down", 0.0, ("a", "b"), True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "inference_id"),
        ({"inference_id": 3, "thumb": "up"}, "inference_id"),
        ({"inference_id": "x", "thumb": True}, "thumb"),
        ({"inference_id": "x", "score": 1.01}, "score"),
        ({"inference_id": "x", "score": "1"}, "score"),
        ({"inference_id": "x", "comment": "  "}, "comment"),
        ({"inference_id": "x", "thumb": "up", "correction": " "}, "correction"),
        ({"inference_id": "x", "thumb": "up", "author": ""}, "author"),
        ({"inference_id": "x", "tags": "a"}, "tags"),
        ({"inference_id": "x", "tags": ["a"] * 33}, "tags"),
        ({"inference_id": "x", "metrics": []}, "metrics"),
        ({"inference_id": "x", "metrics": {"a": None}}, "metrics.a"),
        ({"inference_id": "x", "thumbs": "up"}, "thumbs"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_feedback(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body", [{}, {"tags": []}, {"metrics": {}}, {"thumb": None}, {"author": "x"}, {"correction": ""}]
)
def test_an_empty_one(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_feedback({"inference_id": "x", **body})
    assert caught.value.code == "empty_feedback"


def test_the_same_content_is_the_same_whatever_its_order() -> None:
    one = parse_feedback({"inference_id": "x", "tags": ["b", "a"], "metrics": {"p": 1, "q": 2}, "thumb": "up"})
    two = parse_feedback({"thumb": "up", "metrics": {"q": 2, "p": 1}, "tags": ["a", "b"], "inference_id": "x"})
    other = parse_feedback({"inference_id": "x", "tags": ["a"], "thumb": "up"})
    id_ = feedback_id("x", None, one.content)
    assert id_ == feedback_id("x", None, two.content) != feedback_id("x", None, other.content)
    assert id_ != feedback_id("x", "expert", one.content)


@pytest.mark.parametrize("unsaid", [None, ""])
def test_an_empty_text_is_as_if_it_were_left_out(unsaid: str | None) -> None:
    plain = parse_feedback({"inference_id": "x", "thumb": "down"})
    beside = parse_feedback({"inference_id": "x", "thumb": "down", "correction": unsaid, "comment": unsaid})
    assert (beside.correction, beside.comment, beside.content) == (None, None, plain.content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*CONTENT, "author", "odd"]), JSON, max_size=4))
def test_any_json_is_taken_or_refused(fields: dict[str, Any]) -> None:
    try:
        parse_feedback({"inference_id": "x", **fields})
    except InvalidRequest as error:
        assert error.param or error.code == "empty_feedback"
