"""What the requests of two releases show: figures per window, the conditions that do not hold, a table. Pure.

It knows nothing of the service; `bench/releases.py` measures and hands in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.release_load import CLEAN, Asked

ENOUGH = 20  # answers of each release that a p95 needs to mean anything
MOST = 2.0  # the largest ratio of the two p95 first tokens


def shows_another(asked: Asked, words: Mapping[str, str]) -> bool:
    """Whether the answer, as far as it came, is not its release's; `words` are by release."""
    said = set(asked.text.split())
    return bool(said) and said != {words.get(asked.release or "")}


def window(asked: Sequence[Asked], words: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """What one stretch of the load shows, per release: counts, milliseconds to the first token, tokens a second."""
    found: dict[str, Any] = {"seconds": round(seconds, 2), "requests": len(asked)}
    found["ends"] = dict(Counter(one.end for one in asked))
    found["wrong"] = sum(shows_another(one, words) for one in asked)
    found["releases"] = {}
    for release, word in words.items():
        own = [one for one in asked if one.release == release]
        whole = [one for one in own if one.end == "whole"]
        waits = [1e3 * (one.first - one.sent) for one in whole if one.first is not None]
        tokens = sum(one.tokens for one in whole)
        found["releases"][release] = {
            "word": word,
            "variant": "/".join(sorted({str(one.variant) for one in own})),
            "n": len(whole),
            "ttft_ms": {f"p{q}": round(float(np.percentile(waits, q)), 1) for q in (50, 95)} if waits else None,
            "tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 2),
            "errors": len(own) - len(whole),
            "wrong": sum(shows_another(one, words) for one in own),
        }
    return found


def ratio(found: Mapping[str, Any]) -> float | None:
    """The larger p95 first token by the smaller; None where one release has too few answers to say."""
    releases = list(found["releases"].values())
    if any(one["n"] < ENOUGH or not one["ttft_ms"] for one in releases):
        return None
    low, high = sorted(one["ttft_ms"]["p95"] for one in releases)
    return float(high / low)


def broken(figures: Mapping[str, Any]) -> list[str]:
    """Which conditions do not hold, in words; empty where all do."""
    found = []
    adapters = len(figures["peace"]["releases"])
    for name in ("peace", "after"):
        part = figures[name]
        if part["p95_ratio"] is None:
            found.append(f"{name}: too few answers of a release to compare")
        elif part["p95_ratio"] > MOST:
            found.append(f"{name}: one release's p95 first token is {part['p95_ratio']:.2f} times the other's")
        failed = {end: n for end, n in part["ends"].items() if end != "whole"}
        if failed:
            found.append(f"{name}: requests failed: {failed}")
        found += [f"{name}: {who} loaded {n} adapters after the warm-up" for who, n in part["loads"].items() if n]
    for name in ("warm-up", "recovery"):
        for who, n in figures["loads"][name].items():
            if n != adapters:
                found.append(f"{name}: {who} noted {n} loads for {adapters} adapters")
    unclean = {end: n for end, n in figures["gap"]["ends"].items() if end not in CLEAN}
    if unclean:
        found.append(f"gap: requests failed uncleanly: {unclean}")
    for name in ("warm-up", "peace", "before", "gap", "after"):
        if figures[name]["wrong"]:
            found.append(f"{name}: {figures[name]['wrong']} answers show another release than their header")
    if figures["rollout"]["state"] != "running":
        found.append(f"the rollout is {figures['rollout']['state']}: {figures['rollout']['reasons']}")
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The windows in Markdown."""
    lines = [
        "| window | release | answers | first token p50, p95 (ms) | tokens/s | errors | wrong |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("peace", "before", "gap", "after"):
        for one in figures[name]["releases"].values():
            waits = one["ttft_ms"] and f"{one['ttft_ms']['p50']:.0f}, {one['ttft_ms']['p95']:.0f}"
            lines.append(
                f"| {name}, {figures[name]['seconds']:.0f} s | {one['variant']} ({one['word']}) | {one['n']} "
                f"| {waits or '-'} | {one['tokens_per_s']} | {one['errors']} | {one['wrong']} |"
            )
    for name in ("peace", "after"):
        lines.append(f"\n{name}: p95 ratio {figures[name]['p95_ratio']}, loads {figures[name]['loads']}")
    kill = figures["kill"]
    lines.append(
        f"kill: first answer after {kill['first_answer_s']} s, both releases after {kill['both_s']} s; "
        f"until then {figures['gap']['ends']}; loads {figures['loads']['recovery']}"
    )
    return "\n".join(lines)
