"""Rollouts played by dice: units as popular as words are, each with its own rates, judged while they ask."""

import itertools
import random
from dataclasses import replace

from deploy.analysis import analyse
from thumbwheel.records import DEFAULT_STAGES, Outcome, Rollout
from thumbwheel.routing import point

ROLLOUT = Rollout(
    id="ro-1",
    channel="support",
    release="rel-new",
    state="running",
    stage=0,
    stages=DEFAULT_STAGES,
    weight=5.0,
    analysis={},
    started_ms=0,
    stage_started_ms=1_000,
    ended_ms=None,
    version=1,
)


def outcome(unit, role="candidate", status="ok", flags=(), at_ms=2_000, thumb=None, ttft_ms=900.0, e2e_ms=4_000.0):
    return Outcome(
        id="chatcmpl-x",
        unit=unit,
        assigned="rel-new" if role == "candidate" else "rel-old",
        role=role,
        served_by="rel-old",
        status=status,
        flags=tuple(flags),
        ttft_ms=ttft_ms,
        e2e_ms=e2e_ms,
        completion_tokens=20,
        at_ms=at_ms,
        thumb=thumb,
    )


USUAL = {"errors": 0.005, "empty": 0.005, "degenerate": 0.01, "truncated": 0.25, "down": 0.25}
RATED = 0.3


def simulate(seed, stable, candidate, correlation, units=400, most=6_000, step=100):
    """Play a rollout: Zipf(1) units with beta-distributed rates of their own, judged after each `step` requests."""
    dice = random.Random(seed)
    popularity = list(itertools.accumulate(1 / (i + 1) for i in range(units)))
    at = [point(f"salt{seed}", f"u{i}") for i in range(units)]
    rollout, outcomes, own = replace(ROLLOUT, stage_started_ms=0), [], {}
    for now_ms in range(step, most, step):
        for unit in dice.choices(range(units), cum_weights=popularity, k=step):
            mine = at[unit] < rollout.weight / 100
            if (unit, mine) not in own:
                rates, k = (candidate if mine else stable), 1 / correlation - 1
                own[unit, mine] = {name: dice.betavariate(p * k, (1 - p) * k) for name, p in rates.items()}
            p = own[unit, mine]
            hit = {name for name in p if dice.random() < p[name]}
            outcomes.append(
                outcome(
                    f"u{unit}",
                    "candidate" if mine else "stable",
                    "release_error" if "errors" in hit else "ok",
                    flags=hit & {"empty", "degenerate", "truncated"},
                    at_ms=now_ms,
                    thumb=("down" if "down" in hit else "up") if dice.random() < RATED else None,
                )
            )
        found = analyse(rollout, outcomes, now_ms)
        if found.result == "failed":
            return "failed", rollout.stage
        if found.result == "successful":
            if rollout.stage == len(rollout.stages) - 1:
                return "promoted", rollout.stage
            stage = rollout.stage + 1
            rollout = replace(rollout, stage=stage, weight=rollout.stages[stage].weight, stage_started_ms=now_ms)
    return "open", rollout.stage
