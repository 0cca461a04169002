"""The gate: does a draft pass, fail, or lack evidence? A pure function of measurements and thresholds.

`fail` means that harm was shown: a bound on the wrong side, forgetting, leaks, faulty answers. `insufficient_evidence`
means that neither harm nor what is asked for was shown; a person may decide then. A release passes only if every check
does, so many checks do not add up to more false passes.

The thresholds, and why they are so, stand in gate.yaml. It knows nothing of engines, rows or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from retrain.statistics import Interval

PASS, FAIL, INSUFFICIENT = "pass", "fail", "insufficient_evidence"


@dataclass(frozen=True)
class Thresholds:
    """gate.yaml's `thresholds`; what each is stands there."""

    confidence: float
    min_test_groups: int
    min_new_groups: int
    min_contrast_units: float
    min_gain: float
    min_contrast: float
    older_allowance: float
    taught_allowance: float
    lost_case: float
    max_lost_share: float
    general_allowance: float
    min_general_prompts: int
    max_kl: float
    max_leaks: int
    specific_share: float
    max_faulty_share: float


@dataclass(frozen=True)
class General:
    """General prompts. `difference` is share right, draft less base; `kl` nats per token."""

    prompts: int
    difference: Interval
    kl: float
    kl_tokens: int
    leaks: int | None  # None: the taught form has no mark
    allowed_leaks: int  # on top of the threshold: the base's own matches


@dataclass(frozen=True)
class Evidence:
    """What was measured, draft less incumbent, nats per token, one value a group. None: nothing there to measure."""

    test_groups: int
    new_groups: int
    gain: Interval | None  # accepted answers of new test rows
    contrast: Interval | None  # share of pairs of items in which the draft prefers the answers as they stand
    contrast_change: Interval | None  # that share, less the incumbent's on the same pairs
    contrast_units: float  # how many items carry the pairs
    older: Interval | None  # older test rows
    taught: Interval | None  # cases corrected before
    taught_lost: int  # of those, how many fell by more than `lost_case`
    scorers: Mapping[str, Interval]  # by label, draft less incumbent, on all test rows' answers
    faulty_share: float  # of the draft's answers
    faulty_answers: int
    answers: int
    general: General | None
    not_finite: int = 0  # log-probabilities that are no numbers
    draft_failure: str | None = None  # why the engine cannot answer with the draft, where it cannot


@dataclass(frozen=True)
class Check:
    """One thing asked. `measured` and `bound` are None where there was nothing to measure."""

    name: str
    status: str
    measured: float | None
    bound: float | None
    threshold: float | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """`result` is pass, fail or insufficient_evidence; `reasons` are those of the checks that did not pass."""

    result: str
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass: what failed first, then what was not shown."""
        ranked = [check for status in (FAIL, INSUFFICIENT) for check in self.checks if check.status == status]
        return tuple(f"{check.name}: {check.reason}" for check in ranked)


def gate(evidence: Evidence, thresholds: Thresholds) -> Verdict:
    """The verdict on one draft beside its incumbent."""
    if evidence.draft_failure is not None:
        return _verdict((Check("engine", FAIL, None, None, None, evidence.draft_failure),))
    checks = (
        _finite(evidence.not_finite),
        *_enough(evidence, thresholds),
        _superior("gain", evidence.gain, thresholds.min_gain, "the accepted answers' log-probability"),
        _contrast(evidence, thresholds),
        _told_apart(evidence.contrast_change),
        _not_inferior("older_rows", evidence.older, thresholds.older_allowance, "older test rows"),
        _not_inferior("taught_rows", evidence.taught, thresholds.taught_allowance, "cases corrected before"),
        _lost(evidence, thresholds),
        *_general(evidence.general, thresholds),
        _answers(evidence, thresholds),
        *(_scorer(label, interval) for label, interval in evidence.scorers.items()),
    )
    return _verdict(checks)


def _verdict(checks: tuple[Check, ...]) -> Verdict:
    statuses = {check.status for check in checks}
    result = FAIL if FAIL in statuses else INSUFFICIENT if INSUFFICIENT in statuses else PASS
    return Verdict(result, checks)


def _finite(count: int) -> Check:
    if count:
        return Check("finite", FAIL, count, None, 0, f"{count} log-probabilities are not numbers")
    return Check("finite", PASS, 0, None, 0, "every log-probability is a number")


def _enough(evidence: Evidence, thresholds: Thresholds) -> tuple[Check, Check]:
    return (
        _count("test_rows", evidence.test_groups, thresholds.min_test_groups, "test questions"),
        _count("new_rows", evidence.new_groups, thresholds.min_new_groups, "test questions new since the incumbent's"),
    )


def _count(name: str, held: int, least: int, what: str) -> Check:
    if held >= least:
        return Check(name, PASS, held, None, least, f"{held} {what}")
    if held == 0 and name == "new_rows":
        reason = f"nothing is new since the incumbent's data; {least} new test questions are needed"
    else:
        reason = f"{held} {what}; {least - held} more are needed (about a quarter of corrections become test rows)"
    return Check(name, INSUFFICIENT, held, None, least, reason)


def _superior(name: str, interval: Interval | None, margin: float, what: str) -> Check:
    """Lower bound over `margin`: pass. Upper bound under zero: harm. Else not shown."""
    if interval is None:
        return Check(name, INSUFFICIENT, None, None, margin, f"{what} could not be measured on new test rows")
    shown = f"{interval.mean:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}] nats per token"
    if interval.lower > margin:
        return Check(name, PASS, interval.mean, interval.lower, margin, f"{what} rose: {shown}")
    if interval.upper < 0:
        return Check(name, FAIL, interval.mean, interval.upper, margin, f"{what} fell: {shown}")
    reason = f"{what} has not been shown to rise by {margin:g}: {shown}{_more(interval, margin)}"
    return Check(name, INSUFFICIENT, interval.mean, interval.lower, margin, reason)


def _more(interval: Interval, margin: float) -> str:
    """How many more items would do, if the next ones are like these: a bound's distance shrinks as 1/sqrt(n)."""
    if interval.mean <= margin or not math.isfinite(interval.lower):
        return ""
    needed = math.ceil(interval.n * ((interval.mean - interval.lower) / (interval.mean - margin)) ** 2)
    return f"; about {max(1, needed - interval.n)} more test questions like these would show it"


def _contrast(evidence: Evidence, thresholds: Thresholds) -> Check:
    """Chance is a half whatever was taught and whatever the incumbent believed: see gate.yaml."""
    held, units, least = evidence.contrast, evidence.contrast_units, thresholds.min_contrast
    if held is None:
        reason = "no two test questions with different accepted answers, one of them new, could be compared"
        return Check("contrast", INSUFFICIENT, None, None, least, reason)
    if units < thresholds.min_contrast_units:
        reason = f"the pairs of test questions rest on {units:.1f} items; {thresholds.min_contrast_units:g} are needed"
        return Check("contrast", INSUFFICIENT, held.mean, None, least, f"{reason}. Too many share one answer")
    shown = f"in {held.mean:.0%} of pairs [{held.lower:.0%}, {held.upper:.0%}]"
    if held.lower > least:
        reason = f"accepted answers are preferred to each other's {shown}"
        return Check("contrast", PASS, held.mean, held.lower, least, reason)
    reason = f"it has not been shown that accepted answers are preferred to each other's in over {least:.0%} of pairs"
    return Check("contrast", INSUFFICIENT, held.mean, held.lower, least, f"{reason}: {shown}{_more(held, least)}")


def _told_apart(change: Interval | None) -> Check:
    if change is None:
        return Check("told_apart", PASS, None, None, 0.0, "no pairs to compare with the incumbent's")
    shown = f"{100 * change.mean:+.0f} points [{100 * change.lower:+.0f}, {100 * change.upper:+.0f}] over the incumbent"
    if change.upper < 0:
        return Check("told_apart", FAIL, change.mean, change.upper, 0.0, f"fewer pairs are told apart: {shown}")
    return Check("told_apart", PASS, change.mean, change.lower, 0.0, f"pairs told apart: {shown}")


def _not_inferior(name: str, interval: Interval | None, allowance: float, what: str) -> Check:
    if interval is None:
        return Check(name, PASS, None, None, -allowance, f"the incumbent learnt from none: no {what}")
    shown = f"{interval.mean:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}] nats a token, allowed {-allowance:g}"
    if interval.lower >= -allowance:
        return Check(name, PASS, interval.mean, interval.lower, -allowance, f"{what} are kept: {shown}")
    if interval.upper < -allowance:
        return Check(name, FAIL, interval.mean, interval.upper, -allowance, f"{what} are forgotten: {shown}")
    return Check(name, INSUFFICIENT, interval.mean, interval.lower, -allowance, f"{what} may be worse: {shown}")


def _lost(evidence: Evidence, thresholds: Thresholds) -> Check:
    if evidence.taught is None:
        return Check("lost_cases", PASS, None, None, thresholds.max_lost_share, "no cases were corrected before")
    share = evidence.taught_lost / evidence.taught.n
    reason = f"{evidence.taught_lost} of {evidence.taught.n} corrected cases fell by over {thresholds.lost_case:g} nats"
    status = PASS if share <= thresholds.max_lost_share else FAIL
    return Check("lost_cases", status, share, None, thresholds.max_lost_share, f"{reason} per token")


def _general(general: General | None, thresholds: Thresholds) -> tuple[Check, ...]:
    least = thresholds.min_general_prompts
    if general is None or general.prompts < least:
        held = 0 if general is None else general.prompts
        reason = f"{held} general prompts; {least} are needed to bound forgetting"
        return (Check("general", INSUFFICIENT, held, None, least, reason),)
    return (_forgetting(general, thresholds.general_allowance), _kl(general, thresholds), _leaks(general, thresholds))


def _forgetting(general: General, allowance: float) -> Check:
    """A shown loss that may exceed the allowance is forgetting; a wide interval around none is a lack of evidence."""
    interval = general.difference
    shown = f"{100 * interval.mean:+.1f} points [{100 * interval.lower:+.1f}, {100 * interval.upper:+.1f}]"
    reason = f"general prompts right, less the base: {shown}, allowed {-100 * allowance:g}"
    status = PASS if interval.lower > -allowance else FAIL if interval.upper < 0 else INSUFFICIENT
    return Check("general", status, interval.mean, interval.lower, -allowance, reason)


def _kl(general: General, thresholds: Thresholds) -> Check:
    reason = f"mean KL(base || draft) on general answers {general.kl:.4f} nats per token, allowed {thresholds.max_kl:g}"
    status = PASS if general.kl <= thresholds.max_kl else FAIL  # not a number fails
    return Check("kl", status, general.kl, None, thresholds.max_kl, reason)


def _leaks(general: General, thresholds: Thresholds) -> Check:
    if general.leaks is None:
        return Check("leaks", PASS, None, None, None, "the taught form has no mark of its own to look for")
    allowed = thresholds.max_leaks + general.allowed_leaks
    reason = f"{general.leaks} of {general.prompts} general answers came in the taught form, allowed {allowed}"
    return Check("leaks", PASS if general.leaks <= allowed else FAIL, general.leaks, None, allowed, reason)


def _answers(evidence: Evidence, thresholds: Thresholds) -> Check:
    reason = f"{evidence.faulty_answers} of {evidence.answers} answers were empty, cut off or looping"
    limit = thresholds.max_faulty_share
    if evidence.answers == 0:
        return Check("answers", INSUFFICIENT, None, None, limit, "no answers to test questions were measured")
    status = PASS if evidence.faulty_share <= limit else FAIL
    return Check("answers", status, evidence.faulty_share, None, limit, reason)


def _scorer(label: str, interval: Interval) -> Check:
    """Scorers stand beside the primary figures: a shown loss fails, and a gain alone is no evidence of the mapping."""
    shown = f"{label}: {interval.mean:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}] over the incumbent"
    status = FAIL if interval.upper < 0 else PASS
    return Check(label, status, interval.mean, interval.upper if status == FAIL else interval.lower, 0.0, shown)
