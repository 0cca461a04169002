"""One feedback as a reviewer is shown it: its texts with or without personal data. Pure functions.

A message may hold more than text; of that its kinds are told, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thumbwheel.events import ReviewEvent
from thumbwheel.redact import Allowed, mask, redact
from thumbwheel.store.review_rows import Case


def view(
    case: Case, reason: str | None, argued: Sequence[ReviewEvent], refused: frozenset[str], allowed: Allowed | None
) -> dict[str, Any]:
    """The case for JSON. `reason` is why it waits, None where it does not; without `allowed` nothing is masked.

    `argued` are the words that an arbiter is to weigh, `refused` the proposals that need no word any more.
    """
    row = case.feedback
    shown: dict[str, Any] = {
        "feedback": row.id,
        "inference": row.inference,
        "state": row.state if reason is None else "waiting",
        "reason": row.reason if reason is None else reason,
        "received_ms": row.at_ms,
        "role": row.role,
        "thumb": row.thumb,
        "messages": [{"role": str(one.get("role")), **_content(one)} for one in case.messages or ()],
        "answer": case.answer,
        "correction": row.correction,
        "comment": row.comment,
        "proposals": [
            {"id": one.id, "target": one.target, "role": one.role, "model": one.model, "version": one.version}
            for one in case.proposals
            if one.id not in refused
        ],
        "masked": None,
    }
    if argued:
        shown["disagreement"] = [
            {
                "verdict": one.verdict,
                "proposal": one.proposal,
                "target": one.target,
                "reason": one.reason,
                "scores": one.scores,
            }
            for one in argued
        ]
    if allowed is None:
        return {**shown, "author": row.author}
    places = list(_texts(shown))
    texts, found = mask([holder[name] for holder, name in places], allowed)
    for (holder, name), text in zip(places, texts, strict=True):
        holder[name] = text
    shown["masked"] = dict(found)
    return shown


def fault_of(case: Case, target: str, allowed: Allowed) -> str | None:
    """Why `target` is no answer to this conversation: the ledger's word for a secret or personal data in it."""
    turns = [(str(one.get("role")), _content(one)["content"]) for one in case.messages or ()]
    return redact(turns, target, None, allowed).reason


def _texts(shown: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where texts of people stand, the conversation first: its placeholders are numbered as in training."""
    parts = (*shown["messages"], *shown["proposals"], *shown.get("disagreement", ()))
    for message in shown["messages"]:
        yield message, "content"
    places = [(shown, name) for name in ("answer", "correction", "comment")]
    places += [(part, name) for part in parts for name in ("target", "reason")]
    for holder, name in places:
        if holder.get(name) is not None:
            yield holder, name


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    """The text of a message, and what else it holds where it holds anything else."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [one["text"] for one in parts if one.get("type") == "text" and isinstance(one.get("text"), str)]
    others = sorted({str(one.get("type")) for one in parts if one.get("type") != "text"})
    others += ["tool_calls"] if message.get("tool_calls") else []
    return {"content": "\n".join(texts), **({"holds_also": others} if others else {})}
