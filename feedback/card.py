"""The bytes of a dataset's files: its rows, where the rest stands, its card. The same values make the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from feedback.augment import Varied
from feedback.join import Turn
from feedback.meaning import Compared
from feedback.mix import Mixed, told
from feedback.rulings import review_counts
from feedback.snapshot import SFT, Example, Snapshot, Verdict
from thumbwheel.dataset_figures import WEIGHT_DIGITS, figures_of
from thumbwheel.dataset_files import line
from thumbwheel.ledger import REFUSED, USED, WAITING

FORMAT = 4


def row_of(example: Example) -> bytes:
    """One line of `rows.jsonl`."""
    return line(_row(example))


def varied_row_of(varied: Varied) -> bytes:
    """The line of an augmented row: its source's, with another id and question, and whence it came."""
    return line(_varied_row(varied))


def _varied_row(varied: Varied) -> dict[str, object]:
    by = {} if varied.model is None else {"model": varied.model, "version": varied.version}
    came = {"from": varied.source.id, "kind": varied.kind, **by}
    return {**_row(varied.source), "id": varied.id, "messages": _messages(varied.turns), "augmented": came}


def _row(example: Example) -> dict[str, object]:
    source = example.proposal.source
    weight = round(example.weight, WEIGHT_DIGITS)
    judged = {} if example.kind == SFT else {"label": example.proposal.label, "weight": weight}
    return {
        **judged,
        "id": example.id,
        "kind": example.kind,
        "messages": _messages(example.proposal.turns),
        "completion": example.proposal.target,
        "rejected": example.proposal.rejected,
        "group": example.group,
        "split": example.split,
        "feedback": source.feedback,
        "inference": source.inference,
        "author": example.proposal.author,
        "role": example.proposal.role,
        "merged": example.proposal.merged,
        "sources": len(example.proposal.sources),
        "reviews": [of for of, _ in example.proposal.reviews],
        "reviewers": len({reviewer for _, reviewer in example.proposal.reviews}),
        "since": example.since,
    }


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def reasons_of(verdicts: Mapping[str, Verdict], beside: Mapping[str, Sequence[str]]) -> bytes:
    """What `reasons.jsonl` holds: where each feedback stands that is no row, a line each, by id.

    Where that is about other feedback, with its ids.
    """
    others = sorted((feedback, verdict) for feedback, verdict in verdicts.items() if verdict[0] != USED)
    return b"".join(
        line({"feedback": of, "state": state, "reason": reason} | ({"beside": beside[of]} if of in beside else {}))
        for of, (state, reason) in others
    )


def card_of(
    snapshot: Snapshot,
    examples: Sequence[Example],
    verdicts: Mapping[str, Verdict],
    mixed: Mixed,
    varied: Sequence[Varied],
    tags: Mapping[str, Sequence[str]],
    compared: Compared,
) -> bytes:
    """What `card.json` holds: of what the dataset was made, and what became of every feedback.

    What is of the rows is counted from their lines (thumbwheel/dataset_figures.py). `tags` are by example; `compared`
    is what came of comparing rows by their vectors.
    """
    lines = [*map(_row, examples), *map(_varied_row, varied)]
    reasons = {
        state: dict(sorted(Counter(reason for found, reason in verdicts.values() if found == state).items()))
        for state in (REFUSED, WAITING)
    }
    return line(
        {
            "format": FORMAT,
            "channel": snapshot.channel,
            "as_of_ms": snapshot.as_of_ms,
            "positions": {
                topic: {str(partition): at for partition, at in partitions.items()}
                for topic, partitions in snapshot.positions.items()
            },
            "incumbent": snapshot.incumbent,
            "feedback": len(verdicts),
            **figures_of(lines, tags),
            "trust": snapshot.trust,
            "reviews": review_counts(snapshot),
            "refused": reasons[REFUSED],
            "waiting": reasons[WAITING],
            "redacted": dict(sorted(sum((Counter(one.proposal.redacted) for one in examples), Counter[str]()).items())),
            "names_by": None if snapshot.names_by is None else asdict(snapshot.names_by),
            "embeddings_by": None if snapshot.embeddings_by is None else asdict(snapshot.embeddings_by),
            "semantic": compared.told,
            "mix": told(mixed, snapshot.mix),
            "feedback_window_ms": snapshot.window_ms,
            "before": list(snapshot.before),
            "policies": snapshot.policies,
            "limits": asdict(snapshot.limits),
            "clean": asdict(snapshot.clean),
        }
    )
