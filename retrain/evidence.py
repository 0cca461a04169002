"""From measurements to evidence: one value a group, with bounds. What it makes is what the gate reads.

Pure, but for a scorer that takes too long: that one is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrain import contrast
from retrain.engine_client import Answer
from retrain.evaluate import GeneralItem, HeldOut, Measurements, Plan
from retrain.gate import Evidence, General, Thresholds
from retrain.general import FormMark, form_marks, is_right
from retrain.statistics import (
    Interval,
    effective_units,
    group_means,
    jackknife_values,
    mean_interval,
    paired_share_difference,
    wilson,
)
from thumbwheel.answers import flags
from thumbwheel.scorers import Scorer, score
from thumbwheel.scoring import bounded


@dataclass(frozen=True)
class Scored:
    """One scorer on the answers to test questions: means of both, and the paired difference by group."""

    label: str
    draft: Interval
    incumbent: Interval
    difference: Interval


@dataclass(frozen=True)
class GeneralTable:
    """General prompts right under base and draft, and what leaked."""

    both: int
    base_only: int
    draft_only: int
    neither: int
    leaked: tuple[str, ...]  # ids of prompts
    marks: tuple[str, ...]  # what was looked for
    unspecific: tuple[str, ...]  # marks that the base's own answers have too: not looked for


def weigh(
    asked: Plan, found: Measurements, scorers: Sequence[Scorer], completions: Sequence[str], thresholds: Thresholds
) -> Evidence:
    """The evidence in `found`. `completions` are the taught answers, by which the form is known (see general.py)."""
    fresh = [item for item in found.tests if item.fresh]
    older = [item for item in found.tests if not item.fresh]
    answers = [answer for item in found.tests for answer in item.draft]
    faulty = sum(bool(flags(answer.text, answer.finish_reason)) for answer in answers)
    taught = [item.own.gain for item in found.taught]
    taught_means = group_means(taught, [item.row.group for item in found.taught])
    confidence = thresholds.confidence
    return Evidence(
        test_groups=len({item.row.group for item in found.tests}),
        new_groups=len({item.row.group for item in fresh}),
        gain=_gain(fresh, confidence),
        contrast=told_apart(asked, found, confidence),
        contrast_change=told_apart_change(asked, found, confidence),
        contrast_units=effective_units(measured_pairs(asked, found)),
        older=_gain(older, confidence),
        taught=mean_interval(taught_means, confidence) if taught_means else None,
        taught_lost=sum(value < -thresholds.lost_case for value in taught_means),
        scorers={scored.label: scored.difference for scored in scores(found.tests, scorers, confidence)},
        faulty_share=faulty / len(answers) if answers else 0.0,
        faulty_answers=faulty,
        answers=len(answers),
        general=_general(found.general, form_marks(scorers, completions), thresholds),
        not_finite=found.not_finite,
        draft_failure=found.draft_failure,
    )


def _gain(items: Sequence[HeldOut], confidence: float) -> Interval | None:
    if not items:
        return None
    return mean_interval(group_means([item.own.gain for item in items], [item.row.group for item in items]), confidence)


def measured_pairs(asked: Plan, found: Measurements) -> list[tuple[int, int]]:
    """The pairs that were measured both ways."""
    return [
        pair for pair in asked.pairs if all((question, answer) in found.cross for question in pair for answer in pair)
    ]


def pair_gains(asked: Plan, found: Measurements) -> tuple[list[tuple[int, int]], list[float]]:
    """The pairs that were measured, and each one's gain in contrast over the incumbent, nats per token."""
    held = measured_pairs(asked, found)
    return held, [contrast.pair_value(lambda asks, says: found.cross[asks, says].gain, pair) for pair in held]


def contrast_gain(asked: Plan, found: Measurements, confidence: float) -> Interval | None:
    """The mean gain over pairs, with its spread over items; None where there are no pairs, or one item is in all."""
    values = jackknife_values(*pair_gains(asked, found))
    return None if values is None else mean_interval(values, confidence)


def told_apart(asked: Plan, found: Measurements, confidence: float) -> Interval | None:
    """The share of pairs in which the draft prefers the accepted answers to the same two swapped; None without pairs.

    Wilson's bounds at as many trials as items carry the pairs: pairs that share an item are not independent.
    """
    pairs = measured_pairs(asked, found)
    if not pairs:
        return None
    trials = max(1, math.floor(effective_units(pairs)))
    return wilson(sum(_draft_right(found, pair) for pair in pairs) / len(pairs) * trials, trials, confidence)


def told_apart_change(asked: Plan, found: Measurements, confidence: float) -> Interval | None:
    """That share less the incumbent's, paired, at as many trials; None without pairs."""
    pairs = measured_pairs(asked, found)
    if not pairs:
        return None
    trials = max(1, math.floor(effective_units(pairs)))
    counts = {(incumbent, draft): 0 for incumbent in (True, False) for draft in (True, False)}
    for pair in pairs:
        counts[_incumbent_right(found, pair), _draft_right(found, pair)] += 1
    both, first, second = (
        round(counts[key] / len(pairs) * trials) for key in ((True, True), (True, False), (False, True))
    )
    return paired_share_difference(both, first, second, max(0, trials - both - first - second), confidence)


def _draft_right(found: Measurements, pair: tuple[int, int]) -> bool:
    return contrast.pair_value(lambda asks, says: found.cross[asks, says].draft, pair) > 0


def _incumbent_right(found: Measurements, pair: tuple[int, int]) -> bool:
    return contrast.pair_value(lambda asks, says: found.cross[asks, says].incumbent, pair) > 0


def scores(items: Sequence[HeldOut], scorers: Sequence[Scorer], confidence: float) -> list[Scored]:
    """The channel's scorers, and chrF beside them, on every answer; an item's value is the mean over its answers.

    Raises JobError where one takes too long.
    """
    labelled = [(f"scorer {number} ({scorer.kind})", scorer) for number, scorer in enumerate(scorers, start=1)]
    if all(scorer.kind != "chrf" for scorer in scorers):
        labelled.append(("chrf", Scorer("chrf")))
    found = []
    for label, scorer in labelled:
        both = [
            (_mean_score(label, scorer, item.draft, item), _mean_score(label, scorer, item.incumbent, item), item)
            for item in items
        ]
        held = [(draft, incumbent, item.row.group) for draft, incumbent, item in both
                if draft is not None and incumbent is not None]  # fmt: skip
        if held:
            drafts, incumbents, groups = (list(column) for column in zip(*held, strict=True))
            differences = [draft - incumbent for draft, incumbent, _ in held]
            found.append(
                Scored(
                    label,
                    _within(mean_interval(group_means(drafts, groups), confidence), 0.0),
                    _within(mean_interval(group_means(incumbents, groups), confidence), 0.0),
                    _within(mean_interval(group_means(differences, groups), confidence), -1.0),
                )
            )
    return found


def _within(interval: Interval, least: float) -> Interval:
    """Scores end at 1: a bound beyond what a score can be says no more than that."""
    return Interval(interval.mean, max(least, interval.lower), min(1.0, interval.upper), interval.n)


def _mean_score(label: str, scorer: Scorer, answers: Sequence[Answer], item: HeldOut) -> float | None:
    values = []
    for answer in answers:
        with bounded(label, scorer.most_s):
            values.append(score(scorer, answer.text, item.row.completion))
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def general_table(items: Sequence[GeneralItem], marks: Sequence[FormMark], specific_share: float) -> GeneralTable:
    """Right and wrong under both, and the answers that took the taught form where the base's own did not."""
    counts = {(base, draft): 0 for base in (True, False) for draft in (True, False)}
    for item in items:
        counts[is_right(item.base.text, item.prompt.accept), is_right(item.draft.text, item.prompt.accept)] += 1
    specific: list[FormMark] = []
    unspecific: list[FormMark] = []
    for mark in marks:
        own = sum(mark.matches(item.base.text) for item in items)
        (specific if own <= specific_share * len(items) else unspecific).append(mark)
    leaked = [
        item.prompt.id
        for item in items
        if any(mark.matches(item.draft.text) and not mark.matches(item.base.text) for mark in specific)
    ]
    return GeneralTable(
        both=counts[True, True],
        base_only=counts[True, False],
        draft_only=counts[False, True],
        neither=counts[False, False],
        leaked=tuple(leaked),
        marks=tuple(mark.label for mark in specific),
        unspecific=tuple(mark.label for mark in unspecific),
    )


def _general(items: Sequence[GeneralItem], marks: Sequence[FormMark], thresholds: Thresholds) -> General | None:
    if not items:
        return None
    table = general_table(items, marks, thresholds.specific_share)
    values = [value for item in items for value in item.divergences]
    specific = [mark for mark in marks if mark.label in table.marks]
    return General(
        prompts=len(items),
        difference=paired_share_difference(
            table.both, table.base_only, table.draft_only, table.neither, thresholds.confidence
        ),
        kl=math.fsum(values) / len(values) if values else math.nan,
        kl_tokens=len(values),
        leaks=len(table.leaked) if specific else None,
        allowed_leaks=sum(any(mark.matches(item.base.text) for mark in specific) for item in items),
    )


def shares(table: GeneralTable, confidence: float) -> Mapping[str, Interval]:
    """The share right of base and draft, with Wilson's bounds."""
    n = table.both + table.base_only + table.draft_only + table.neither
    return {
        "base": wilson(table.both + table.base_only, n, confidence),
        "draft": wilson(table.both + table.draft_only, n, confidence),
    }
