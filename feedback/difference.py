"""What has changed from one dataset to another: a pure function.

Rows are told apart by their ids, which are made of conversation and target. A row that went and one that came with the
same conversation are one whose target changed. Why a row came or went says the place of its feedback in the other
dataset. No text of a user is in a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from feedback.dedupe import conversation_key
from feedback.frozen import Frozen
from thumbwheel.ledger import USED


def difference(before: Frozen, after: Frozen) -> dict[str, Any]:
    """`{"from", "to", "counts", "added", "removed", "changed", "moved", "reasons"}`.

    `added` and `removed` are rows with the place of their feedback in the other dataset (`was`, `is`; None where it
    was not there). `changed` are pairs of row ids with one conversation. `moved` is the feedback that is a row of
    neither and stands elsewhere now; `reasons` counts places, before and after. Both are None where a dataset's files
    do not say them.
    """
    old, new = ({row["id"]: row for row in one.rows} for one in (before, after))
    gone = [old[id_] for id_ in sorted(old.keys() - new.keys())]
    come = [new[id_] for id_ in sorted(new.keys() - old.keys())]
    changed = _paired(gone, come)
    ends = {row["id"] for pair in changed for row in pair}
    added = [_row(row) | {"was": _place(before, row)} for row in come if row["id"] not in ends]
    removed = [_row(row) | {"is": _place(after, row)} for row in gone if row["id"] not in ends]
    moved = _moved(before.places, after.places)
    counts = {
        "before": len(old),
        "after": len(new),
        "same": len(old.keys() & new.keys()),
        "added": len(added),
        "removed": len(removed),
        "changed": len(changed),
    }
    return {
        "from": before.id,
        "to": after.id,
        "counts": counts | ({} if moved is None else {"moved": len(moved)}),
        "added": added,
        "removed": removed,
        "changed": [{"from": was["id"], "to": is_["id"], "split": is_["split"]} for was, is_ in changed],
        "moved": moved,
        "reasons": _counts(before.places, after.places),
    }


def _paired(
    gone: Sequence[Mapping[str, Any]], come: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    waiting: dict[str, list[Mapping[str, Any]]] = {}
    for row in gone:
        waiting.setdefault(_conversation(row), []).append(row)
    return [(some.pop(0), row) for row in come if (some := waiting.get(_conversation(row)))]


def _conversation(row: Mapping[str, Any]) -> str:
    return conversation_key([(message["role"], message["content"]) for message in row["messages"]])


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "split", "feedback")}


def _place(dataset: Frozen, row: Mapping[str, Any]) -> str | None:
    return None if dataset.places is None else dataset.places.get(row["feedback"])


def _moved(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> list[dict[str, str]] | None:
    if before is None or after is None:
        return None
    return [
        {"feedback": feedback, "was": before[feedback], "is": after[feedback]}
        for feedback in sorted(before.keys() & after.keys())
        if before[feedback] != after[feedback] and USED not in (before[feedback], after[feedback])
    ]


def _counts(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> dict[str, list[int]] | None:
    if before is None or after is None:
        return None
    was, is_ = Counter(before.values()), Counter(after.values())
    return {place: [was[place], is_[place]] for place in sorted(was.keys() | is_.keys())}
