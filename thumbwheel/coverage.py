"""What a dataset covers: how many rows, questions and authors there are by tag and by script. A pure function.

A tag that few questions have is thin: what was learnt of it cannot be told, as a quarter of its questions at most are
held out. Tags are an application's words and might be anybody's name: one in which the rules find personal data, and
more than MOST_TAGS, are counted and not shown. It knows nothing of meaning.

Rows are lines of `rows.jsonl`, so that the same can be counted of what an erasure leaves of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thumbwheel.dataset_files import SPLITS
from thumbwheel.redact import find
from thumbwheel.scripts import script_of

THIN = 20  # groups
MOST_TAGS = 200


Line = Mapping[str, Any]


def coverage_of(rows: Sequence[Line], tags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`{"tags", "untagged", "unshown_tags", "scripts", "thin", "thin_under"}`; `tags` are by row."""
    by_tag: dict[str, list[Line]] = {}
    by_script: dict[str, list[Line]] = {}
    for row in rows:
        for tag in dict.fromkeys(tags[row["id"]]):
            by_tag.setdefault(tag, []).append(row)
        by_script.setdefault(script_of(row["messages"][-1]["content"]), []).append(row)
    ranked = sorted(by_tag, key=lambda tag: (-len(by_tag[tag]), tag))
    shown = sorted([tag for tag in ranked if not find(tag)][:MOST_TAGS])
    counts = {tag: _counts(by_tag[tag]) for tag in shown}
    return {
        "tags": counts,
        "untagged": _counts([row for row in rows if not tags[row["id"]]]),
        "unshown_tags": len(by_tag) - len(shown),
        "scripts": {script: _counts(by_script[script]) for script in sorted(by_script)},
        "thin": [tag for tag in shown if counts[tag]["groups"] < THIN],
        "thin_under": THIN,
    }


def in_words(coverage: Mapping[str, Any]) -> list[str]:
    """The coverage for a person."""
    words = [
        f"Tag {tag}: {part['rows']} rows of {part['groups']} questions by {part['authors']} authors."
        for tag, part in coverage["tags"].items()
    ]
    if coverage["unshown_tags"]:
        words.append(f"{coverage['unshown_tags']} more tags are not shown.")
    if coverage["thin"]:
        words.append(f"Under {coverage['thin_under']} questions have: {', '.join(coverage['thin'])}.")
    scripts = ", ".join(f"{part['rows']} {script}" for script, part in coverage["scripts"].items())
    return [*words, f"Questions by script: {scripts}."] if scripts else words


def _counts(rows: Iterable[Line]) -> dict[str, Any]:
    held = list(rows)
    return {
        "rows": len(held),
        "groups": len({row["group"] for row in held}),
        "authors": len({row["author"] for row in held}),
        "splits": {split: sum(row["split"] == split for row in held) for split in SPLITS},
    }
