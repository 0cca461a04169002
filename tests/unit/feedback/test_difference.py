"""What is said of two datasets."""

from __future__ import annotations

from typing import Any

from feedback.difference import difference
from feedback.frozen import Frozen


def row(id_: str, feedback: str, question: str, split: str = "train") -> dict[str, Any]:
    turns = [{"role": "user", "content": question}]
    return {"id": id_, "feedback": feedback, "split": split, "messages": turns, "completion": id_}


def frozen(id_: str, rows: list[dict[str, Any]], others: dict[str, str] | None) -> Frozen:
    places = None if others is None else others | {one["feedback"]: "used" for one in rows}
    return Frozen(id_, tuple(rows), places, ())


BEFORE = frozen(
    "a",
    [row("ex-1", "fb-1", "能退吗"), row("ex-2", "fb-2", "何时发货"), row("ex-3", "fb-3", "怎么开票", "test")],
    {"fb-4": "waiting (no_correction)", "fb-5": "refused (duplicate)", "fb-6": "waiting (contradiction)"},
)
AFTER = frozen(
    "b",
    [
        row("ex-1", "fb-1", "能退吗"),
        row("ex-7", "fb-7", " 何时发货　"),
        row("ex-6", "fb-6", "怎么换货"),
        row("ex-8", "fb-8", "在吗"),
    ],
    {
        "fb-2": "refused (superseded)",
        "fb-3": "refused (excluded)",
        "fb-4": "waiting (no_correction)",
        "fb-5": "refused (superseded)",
    },
)


def test_rows_that_came_went_and_changed() -> None:
    found = difference(BEFORE, AFTER)
    assert (found["from"], found["to"]) == ("a", "b")
    assert found["counts"] == {
        "before": 3, "after": 4, "same": 1, "added": 2, "removed": 1, "changed": 1, "moved": 1,
    }  # fmt: skip
    assert found["added"] == [
        {"id": "ex-6", "split": "train", "feedback": "fb-6", "was": "waiting (contradiction)"},
        {"id": "ex-8", "split": "train", "feedback": "fb-8", "was": None},
    ]
    assert found["removed"] == [{"id": "ex-3", "split": "test", "feedback": "fb-3", "is": "refused (excluded)"}]
    assert found["changed"] == [{"from": "ex-2", "to": "ex-7", "split": "train"}], "the same question, but for blanks"


def test_feedback_that_is_no_row_and_moved() -> None:
    found = difference(BEFORE, AFTER)
    assert found["moved"] == [{"feedback": "fb-5", "was": "refused (duplicate)", "is": "refused (superseded)"}]
    assert found["reasons"] == {
        "refused (duplicate)": [1, 0],
        "refused (excluded)": [0, 1],
        "refused (superseded)": [0, 2],
        "used": [3, 4],
        "waiting (contradiction)": [1, 0],
        "waiting (no_correction)": [1, 1],
    }


def test_the_same_dataset_has_not_changed() -> None:
    found = difference(BEFORE, BEFORE)
    assert found["counts"] == {
        "before": 3, "after": 3, "same": 3, "added": 0, "removed": 0, "changed": 0, "moved": 0,
    }  # fmt: skip


def test_datasets_that_do_not_say_where_the_rest_stood() -> None:
    found = difference(frozen("a", list(BEFORE.rows), None), AFTER)
    assert found["moved"] is None and found["reasons"] is None and "moved" not in found["counts"]
    assert [one["was"] for one in found["added"]] == [None, None]
    assert [one["is"] for one in found["removed"]] == ["refused (excluded)"]
