"""The bytes of a dataset's files: its rows, where the rest stands, its card. The same values make the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from feedback.augment import Varied, counts
from feedback.coverage import coverage_of
from feedback.join import Turn
from feedback.meaning import Compared
from feedback.mix import Mixed, told
from feedback.reviewed import review_counts
from feedback.snapshot import KTO, SFT, Example, Snapshot, Verdict
from thumbwheel.dataset_files import line
from thumbwheel.ledger import REFUSED, USED, WAITING

FORMAT = 3


def row_of(example: Example) -> bytes:
    """One line of `rows.jsonl`."""
    return line(_row(example))


def varied_row_of(varied: Varied) -> bytes:
    """The line of an augmented row: its source's, with another id and question, and whence it came."""
    by = {} if varied.model is None else {"model": varied.model, "version": varied.version}
    came = {"from": varied.source.id, "kind": varied.kind, **by}
    return line({**_row(varied.source), "id": varied.id, "messages": _messages(varied.turns), "augmented": came})


def _row(example: Example) -> dict[str, object]:
    source = example.proposal.source
    judged = {} if example.kind == SFT else {"label": example.proposal.label, "weight": round(example.weight, 6)}
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


def reasons_of(verdicts: Mapping[str, Verdict]) -> bytes:
    """What `reasons.jsonl` holds: where each feedback stands that is no row, a line each, by id."""
    others = sorted((feedback, verdict) for feedback, verdict in verdicts.items() if verdict[0] != USED)
    return b"".join(line({"feedback": of, "state": state, "reason": reason}) for of, (state, reason) in others)


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

    Its figures are of the corrections that are trained on and judged by; thumbs without one are under `kto`, rows that
    were augmented under `augmented`. `tags` are by example; `compared` is what came of comparing rows by their vectors.
    """
    every = examples
    examples = [example for example in every if example.kind == SFT]
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
            "rows": len(examples),
            "kinds": dict(sorted(Counter(example.kind for example in every).items())),
            "kto": _thumbs([example for example in every if example.kind == KTO]),
            "merged": sum(len(example.proposal.merged) for example in examples),
            "new": sum(example.since is None for example in examples),
            "splits": dict(Counter(example.split for example in examples)),
            "new_by_split": dict(Counter(example.split for example in examples if example.since is None)),
            "groups": len({example.group for example in examples}),
            "authors": len({example.proposal.author for example in examples}),
            "roles": dict(sorted(Counter(example.proposal.role for example in examples).items())),
            "trust": snapshot.trust,
            "reviews": review_counts(snapshot),
            "refused": reasons[REFUSED],
            "waiting": reasons[WAITING],
            "redacted": dict(sorted(sum((Counter(one.proposal.redacted) for one in every), Counter[str]()).items())),
            "names_by": None if snapshot.names_by is None else asdict(snapshot.names_by),
            "embeddings_by": None if snapshot.embeddings_by is None else asdict(snapshot.embeddings_by),
            "semantic": compared.told,
            "mix": told(mixed, snapshot.mix),
            "coverage": coverage_of(examples, tags),
            "augmented": {"rows": len(varied), "kinds": counts(varied)},
            "feedback_window_ms": snapshot.window_ms,
            "before": list(snapshot.before),
            "policies": snapshot.policies,
            "limits": asdict(snapshot.limits),
            "clean": asdict(snapshot.clean),
        }
    )


def _thumbs(examples: Sequence[Example]) -> dict[str, object]:
    """How many thumbs are rows, by split and by whether the answer was liked, and their weight in sum."""
    counts: dict[str, dict[str, dict[str, float]]] = {}
    for label, name in ((True, "desirable"), (False, "undesirable")):
        for split in sorted({example.split for example in examples}):
            some = [one.weight for one in examples if one.split == split and one.proposal.label is label]
            counts.setdefault(split, {})[name] = {"rows": len(some), "weight": round(sum(some), 6)}
    return {"trained_on": False, "splits": counts}
