from __future__ import annotations

import json
from typing import Any

from feedback.curate import curate
from feedback.join import Joined
from feedback.snapshot import Snapshot
from tests.unit.feedback.test_mix import many, row
from thumbwheel.coverage import MOST_TAGS, THIN, in_words


def coverage(rows: list[Joined]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(curate(Snapshot("support", rows, 1_000, {})).card)["coverage"]
    return found


def test_rows_questions_and_authors_by_tag_and_split() -> None:
    rows = [*many(0, 40, "退货"), *many(40, 40, "billing", author="zoe"), row(90)]
    found = coverage(rows)
    assert found["tags"]["退货"] == {
        "rows": 40,
        "groups": 40,
        "authors": 40,
        "splits": found["tags"]["退货"]["splits"],
    }
    assert sum(found["tags"]["退货"]["splits"].values()) == 40
    assert (found["tags"]["billing"]["rows"], found["tags"]["billing"]["authors"]) == (20, 1)
    assert found["untagged"]["rows"] == 1 and found["unshown_tags"] == 0
    every = [found["untagged"], *found["tags"].values()]
    assert sum(one["splits"]["test"] for one in every) == 20 and set(every[0]["splits"]) == {
        "train",
        "validation",
        "test",
    }


def test_a_row_with_two_tags_counts_for_both() -> None:
    found = coverage([row(1, "a", "b")])
    assert found["tags"]["a"] == found["tags"]["b"] and found["untagged"]["rows"] == 0


def test_what_is_thin_is_counted_by_questions_and_not_by_rows() -> None:
    rows = [
        row(
            n,
            "again",
            messages=[*row(n).messages, {"role": "assistant", "content": "好"}, {"role": "user", "content": "然后呢"}],
        )
        for n in range(THIN)
    ]
    enough = many(100, THIN, "enough")
    found = coverage([*rows, *enough])
    assert found["tags"]["again"]["groups"] == 1 and found["tags"]["enough"]["groups"] == THIN
    assert found["thin"] == ["again"] and found["thin_under"] == THIN


def test_scripts() -> None:
    rows = [
        row(1),
        row(2, messages=[{"role": "user", "content": "My order is late"}]),
        row(3, messages=[{"role": "user", "content": "返品したいのですが"}]),
    ]
    assert {script: one["rows"] for script, one in coverage(rows)["scripts"].items()} == {"ja": 1, "latin": 1, "zh": 1}


def test_tags_that_might_be_somebodys_are_counted_and_not_shown() -> None:
    found = coverage([row(1, "ann@example.com", "billing"), row(2, "13812345678")])
    assert list(found["tags"]) == ["billing"] and found["unshown_tags"] == 2
    assert found["untagged"]["rows"] == 0


def test_of_very_many_tags_the_most_frequent_are_shown() -> None:
    rows = [row(n, f"t{n}", "frequent") for n in range(MOST_TAGS + 10)]
    found = coverage(rows)
    assert len(found["tags"]) == MOST_TAGS and "frequent" in found["tags"] and found["unshown_tags"] == 11


def test_in_words() -> None:
    rows = [*many(0, 40, "退货"), row(50, "billing", "13812345678")]
    assert in_words(coverage(rows)) == [
        "Tag billing: 1 rows of 1 questions by 1 authors.",
        "Tag 退货: 40 rows of 40 questions by 40 authors.",
        "1 more tags are not shown.",
        "Under 20 questions have: billing.",
        "Questions by script: 41 zh.",
    ]
    assert in_words(coverage([])) == []
