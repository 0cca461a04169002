"""What the measurements say of a rollout now: a pure function of what was counted, and of the time.

There are gross guards only: a candidate that breaks, falls silent, rambles, is far too slow or is disliked is failed;
one that has served enough without any of it is successful. It cannot see a small loss: each guard says in `seen` how
large a harm its numbers would still hide, and the report claims no more than that.

A guard compares the candidate, by what was *assigned* (an answer that a retry on stable rescued is still the
candidate's failure), with the stable release's traffic of the same rollout. It fails the candidate where all hold:

- its rate of bad answers exceeds the stable's by `margin`;
- so many bad answers are no accident: with the stable's rate taken at its upper bound, their binomial tail is under
  `alpha` (small, since a rollout is looked at many times);
- they came from at least `MIN_BAD_UNITS` units.

Answers of one unit resemble each other, so m answers count as m / (1 + (m - 1) * RHO), never more than 1 / RHO: one
noisy user cannot roll a canary back. The tail and both bounds are taken on these effective counts.

It knows nothing of statuses other than `ok` and `release_error`: a client's own error, a client that left and an engine
that was away count for nobody.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from thumbwheel.records import Outcome, Rollout

RHO = 0.25  # assumed correlation of two answers to one unit; a unit counts for at most 1 / RHO
WAIT_ALPHA = 0.05  # less sure than failure, sure enough not to widen
MIN_BAD_UNITS = 3
MOST_ROUNDS = 10_000  # of a continued fraction
BOUND = 0.95  # one-sided, of every bound that is stated
COUNTED = ("ok", "release_error")
RESULTS = ("successful", "failed", "inconclusive", "error")

Judge = Callable[[Outcome], bool | None]
"""Whether an outcome is bad; None where the guard cannot tell (no thumb, no answer)."""


@dataclass(frozen=True)
class Guard:
    """One thing that must not get grossly worse.

    `prior` is Beta(bad, good) pseudo-counts of the stable's rate: strong where a healthy release has next to none,
    flat where only the stable's own traffic can say. `relative` is false for absolute objectives, whose tolerated
    share is `tolerated` whatever the stable does: harm to a shared pool slows the stable too. Of a relative guard it is
    the least rate that the candidate's is held against, however good the stable is.
    """

    name: str
    judge: Judge
    margin: float
    prior: tuple[float, float] = (1.0, 1.0)
    relative: bool = True
    tolerated: float = 0.02
    alpha: float = 0.0005


def _error(outcome: Outcome) -> bool | None:
    return outcome.status == "release_error"


def _flagged(flag: str, outcome: Outcome) -> bool | None:
    return None if outcome.status != "ok" else flag in outcome.flags


def _over(limit_ms: float, measure: Callable[[Outcome], float | None], outcome: Outcome) -> bool | None:
    took = measure(outcome)
    return None if outcome.status != "ok" or took is None else took > limit_ms


def _down(outcome: Outcome) -> bool | None:
    return None if outcome.thumb is None else outcome.thumb == "down"


RARE = (0.2, 19.8)  # one in a hundred, worth twenty answers
RARE_ALPHA = 0.005  # a healthy release has none of these, so few are telling
# Generous: a CPU that trains beside serving meets them.
FIRST_TOKEN_MS, END_TO_END_MS = 30_000.0, 180_000.0

GUARDS = (
    Guard("errors", _error, margin=0.10, prior=RARE, alpha=RARE_ALPHA),
    Guard("empty", partial(_flagged, "empty"), margin=0.10, prior=RARE, alpha=RARE_ALPHA),
    Guard("degenerate", partial(_flagged, "degenerate"), margin=0.10, prior=RARE, alpha=RARE_ALPHA),
    Guard("truncated", partial(_flagged, "truncated"), margin=0.25),
    Guard(
        "first token", partial(_over, FIRST_TOKEN_MS, lambda o: o.ttft_ms), margin=0.10, relative=False, tolerated=0.10
    ),
    Guard("end to end", partial(_over, END_TO_END_MS, lambda o: o.e2e_ms), margin=0.10, relative=False, tolerated=0.10),
    Guard("thumbs down", _down, margin=0.25),
)


@dataclass(frozen=True)
class Counts:
    """What one guard counted of one release. `weight` and `bad_weight` are effective counts of answers."""

    requests: int
    units: int
    bad: int
    bad_units: int
    weight: float
    bad_weight: float

    @property
    def rate(self) -> float:
        """The share of bad answers, each unit weighed down."""
        return self.bad_weight / self.weight if self.weight else 0.0


@dataclass(frozen=True)
class Analysis:
    """`result` is one of RESULTS; `seen` is JSON: what was counted, and how large a harm the counts would hide."""

    result: str
    reasons: tuple[str, ...]
    seen: Mapping[str, object] = field(default_factory=dict)


def analyse(
    rollout: Rollout, outcomes: Iterable[Outcome] | None, now_ms: int, guards: Sequence[Guard] = GUARDS
) -> Analysis:
    """Judge the rollout's present stage at `now_ms`. `outcomes` are the rollout's, None where they cannot be read.

    The guards look at the whole rollout and at the present stage by itself, so that harm which begins under a greater
    weight is not diluted by the calm before. Inconclusive past the stage's deadline is the caller's to hold.
    """
    if rollout.stage_started_ms is None:
        return Analysis("inconclusive", ("the smoke test has not passed yet",))
    if outcomes is None:
        return Analysis("error", ("the measurements cannot be read",))
    counted = [outcome for outcome in outcomes if outcome.status in COUNTED]
    candidate = [outcome for outcome in counted if outcome.role == "candidate"]
    stable = [outcome for outcome in counted if outcome.role == "stable"]
    present = [outcome for outcome in candidate if outcome.at_ms >= rollout.stage_started_ms]
    blind = _unreadable(candidate)
    if blind:
        return Analysis("error", (blind,))

    seen: list[dict[str, object]] = []
    failed: list[str] = []
    doubtful: list[str] = []
    for guard in guards:
        theirs, ours = count(guard.judge, stable), count(guard.judge, candidate)
        for part in (ours, count(guard.judge, present)):
            if not _exceeds(guard, part, theirs):
                continue
            odds = _odds(guard, part, theirs)
            if odds < guard.alpha and part.bad_units >= MIN_BAD_UNITS:
                failed.append(_sentence(guard, part, theirs))
                break
            if odds < WAIT_ALPHA:
                doubtful.append(_sentence(guard, part, theirs))
                break
        seen.append(_seen(guard, ours, theirs))

    stage = rollout.stages[rollout.stage]
    units = len({outcome.unit for outcome in present})
    bound = upper_bound(0.0, float(len(present)))
    numbers: dict[str, object] = {
        "weight": rollout.weight,
        "units": units,
        "requests": len(present),
        "observed": round(len(candidate) / len(counted), 4) if counted else 0.0,
        "bound": round(bound, 4),  # of any harm of which nothing was seen
        "guards": seen,
    }
    if failed:
        return Analysis("failed", tuple(failed), numbers)
    missing = _missing(stage.min_units - units, stage.min_requests - len(present))
    if missing:
        late = ("the stage's deadline has passed",) if overdue(rollout, now_ms) else ()
        return Analysis("inconclusive", (missing, *doubtful, *late), numbers)
    if doubtful:
        return Analysis("inconclusive", tuple(f"{reason}; too few to be sure" for reason in doubtful), numbers)
    clean = (
        f"{len(present)} requests of {units} units passed every guard; a harm of which none showed may still be "
        f"as frequent as {bound:.0%}"
    )
    return Analysis("successful", (clean,), numbers)


def overdue(rollout: Rollout, now_ms: int) -> bool:
    """Whether the present stage's deadline has passed."""
    if rollout.stage_started_ms is None:
        return False
    return now_ms - rollout.stage_started_ms >= rollout.stages[rollout.stage].deadline_s * 1000.0


def count(judge: Judge, outcomes: Iterable[Outcome]) -> Counts:
    """Count what `judge` can tell of, unit by unit; see the module for the weights."""
    units: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for outcome in outcomes:
        verdict = judge(outcome)
        if verdict is not None:
            tally = units[outcome.unit]
            tally[0] += 1
            tally[1] += verdict
    requests = bad_total = bad_units = 0
    sizes, bad_sizes = [], []
    for total, bad in units.values():
        size = total / (1.0 + (total - 1) * RHO)
        requests += total
        sizes.append(size)
        if bad:
            bad_total += bad
            bad_units += 1
            bad_sizes.append(size * bad / total)
    # fsum: plain sums would depend on the order of the outcomes.
    return Counts(requests, len(units), bad_total, bad_units, math.fsum(sizes), math.fsum(bad_sizes))


def upper_bound(bad: float, total: float, confidence: float = BOUND) -> float:
    """The one-sided Clopper-Pearson upper bound of a rate, also of fractional counts; 1 where nothing was seen.

    With none seen it is 1 - (1 - confidence) ** (1 / total): 14% of 20.
    """
    if bad >= total:
        return 1.0
    return beta_quantile(confidence, bad + 1.0, total - bad)


def tail(bad: float, total: float, rate: float) -> float:
    """The probability of at least `bad` of `total` under `rate`: a binomial tail, also of fractional counts."""
    if bad <= 0.0:
        return 1.0
    return beta_cdf(rate, bad, max(total - bad, 0.0) + 1.0)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (Lentz); about 1e-12."""
    if x <= 0.0:
        return 0.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    # On this side the fraction converges: in at most 451 rounds for 3,000 pairs up to 3e6, where no denominator came
    # nearer to 0 than 9e-7, so Lentz's guard against that is not needed.
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    total = d
    for m in range(1, MOST_ROUNDS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / (1.0 + numerator * d)
            c = 1.0 + numerator / c
            total *= c * d
        if abs(c * d - 1.0) < 1e-13:
            break
    return front * total / a


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = `probability`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if beta_cdf(middle, a, b) < probability else (low, middle)
    return (low + high) / 2.0


def _unreadable(candidate: Sequence[Outcome]) -> str | None:
    blind = sum(outcome.status == "ok" and outcome.e2e_ms is None for outcome in candidate)
    if candidate and blind > len(candidate) / 2:
        return f"{blind} of the candidate's {len(candidate)} answers came without their measurements"
    return None


def _reference(guard: Guard, stable: Counts) -> float:
    """The rate that the candidate's is held against."""
    if not guard.relative:
        return guard.tolerated
    bad, good = guard.prior
    bound = beta_quantile(BOUND, stable.bad_weight + bad, stable.weight - stable.bad_weight + good)
    return max(guard.tolerated, bound)


def _exceeds(guard: Guard, ours: Counts, stable: Counts) -> bool:
    usual = stable.rate if guard.relative else guard.tolerated
    return ours.rate - usual >= guard.margin


def _odds(guard: Guard, ours: Counts, stable: Counts) -> float:
    return tail(ours.bad_weight, ours.weight, _reference(guard, stable))


def _missing(units: int, requests: int) -> str | None:
    wanted = [f"{n} more {what}{'s' * (n > 1)}" for n, what in ((units, "unit"), (requests, "request")) if n > 0]
    return f"waits for {' and '.join(wanted)} of the candidate" if wanted else None


def _sentence(guard: Guard, ours: Counts, stable: Counts) -> str:
    beside = (
        f"{stable.rate:.0%} of the stable's {stable.requests}" if guard.relative else f"{guard.tolerated:.0%} allowed"
    )
    return (
        f"{guard.name}: {ours.bad} of the candidate's {ours.requests} ({ours.rate:.0%} by unit, {ours.bad_units} units)"
        f" against {beside}"
    )


def _seen(guard: Guard, ours: Counts, stable: Counts) -> dict[str, object]:
    """What the guard counted, and the rate that so many would still allow: `bound` as though answers were independent,
    `clustered_bound` on the effective count."""
    return {
        "guard": guard.name,
        "requests": ours.requests,
        "units": ours.units,
        "bad": ours.bad,
        "bad_units": ours.bad_units,
        "bound": round(upper_bound(float(ours.bad), float(ours.requests)), 4),
        "clustered_bound": round(upper_bound(ours.bad_weight, ours.weight), 4),
        "stable_requests": stable.requests,
        "stable_bad": stable.bad,
    }
