"""Puts the journal's steps together as `demo-report.json`, decides whether the loop closed, and prints the table.

Every figure is one that was measured; what was not measured (yet) is null. Counts are counts, shares and differences
lie between -1 and 1, intervals are 95%, weights and `observed` are percent, memory is MiB. `make_report` reads the
journal and the clock, `write_report` writes a file; the rest are pure functions of values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.bad import SHUFFLED
from demo.helpdesk import CHANNEL
from demo.journal import Journal
from demo.measure import compare_desk, compare_general
from demo.service import Memory

REPORT = "demo-report.json"
UNITS = (
    "counts of n; shares, differences and intervals from -1 to 1, 95% (Wilson's for one share, Newcombe's method 10 "
    "for paired differences); gain in nats per token; contrast a share of pairs; weight and observed in "
    "percent; bound: Clopper-Pearson's one-sided 95% upper limit of the candidate's error share; peak_rss_mb in MiB"
)
BAD_CANDIDATES = 7  # six kinds, the wrong base once with its name and once without

ANEW = "  What was played is kept in the data directory; to play anew, give another one: --home DIR"
LINE = 150  # characters of the service's words that a line shows

Steps = Mapping[str, Mapping[str, Any]]


def make_report(journal: Journal, cycles: int, memory: Memory | None) -> dict[str, Any]:
    """`demo-report.json` from what the journal holds; `memory` is None where the service is not the demo's child."""
    ledgers = journal.result("end/ledger") or {}
    stopped = [journal.result(name) or {} for name in journal.steps if name.startswith("bad/")]
    report: dict[str, Any] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "units": UNITS,
        "cycles": [_cycle(journal, number) for number in range(1, cycles + 1) if _played(journal, number)],
        "stopped": [{"candidate": stop["candidate"], "by": stop["by"]} for stop in stopped],
        "past_the_gate": (journal.result("bad/past-the-gate") or {}).get("watched"),
        "failed_requests": journal.total("failed"),
        "failures": sorted(set(journal.tally.errors))[:20] if journal.tally else [],
        "requests": journal.total("asked"),
        "ledger": ledgers.get(CHANNEL),
        "ledger_shuffled": ledgers.get(CHANNEL + SHUFFLED),
        "seconds": {"start": round(journal.starting_s or 0.0, 1), **journal.seconds("")},
        "milestones": _milestones(journal),
        "peak_rss_mb": round(memory.peak_mb) if memory and memory.peak_mb else None,
        "memory": f"{memory.measure} of the service's process tree, sampled each second"
        if memory
        else "the service was running before the demo, which samples its own child only",
        "earlier_sitting": journal.earlier(),
    }
    report["open"] = closed(report, cycles)
    report["closed"] = not report["open"]
    return report


def write_report(home: Path, report: dict[str, Any]) -> Path:
    """Write the report into the data directory, whole, and return its path."""
    path = home / REPORT
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(path)
    return path


def _played(journal: Journal, number: int) -> bool:
    return journal.result(f"cycle-{number}/corrections") is not None


def _cycle(journal: Journal, number: int) -> dict[str, Any]:
    prefix = f"cycle-{number}/"
    results = {name: journal.result(name) for name in ("base/desk", "base/general")}
    results |= {name.removeprefix(prefix): journal.result(name) for name in journal.steps if name.startswith(prefix)}
    if number > 1:
        results["before"] = journal.result(f"cycle-{number - 1}/served")
    known = {name: result for name, result in results.items() if result is not None}
    return cycle_report(number, known, journal.count(prefix, "failed"), journal.seconds(prefix))


def _milestones(journal: Journal) -> dict[str, float | None]:
    """Seconds of play, waiting and all, until each landmark; null where it was not reached."""
    spent = journal.starting_s or 0.0
    landmarks = {"cycle-1/rollout": "first_promotion", "bad/past-the-gate": "bad_candidates"}
    reached: dict[str, float | None] = dict.fromkeys(landmarks.values())
    for name, step in journal.steps.items():
        spent += step["seconds"]
        if name in landmarks and (name != "cycle-1/rollout" or step["result"]["state"] == "promoted"):
            reached[landmarks[name]] = round(spent, 1)
    return {**reached, "all": round(spent, 1)}


def cycle_report(number: int, results: Steps, failed: int, seconds: Mapping[str, float]) -> dict[str, Any]:
    """One cycle. `results` are the results of its steps, with those of the base (`desk`, `general`) under `base/`."""
    base, served = results.get("base/desk"), results.get("served")
    run, rollout, evidence = results.get("run", {}), results.get("rollout", {}), results.get("evidence", {})

    def desk(name: str) -> dict[str, Any] | None:
        return None if base is None else compare_desk(base[name], None if served is None else served[name])

    report = {
        "cycle": number,
        "run": run.get("id"),
        "run_state": run.get("state"),
        "run_reasons": run.get("reasons"),
        "release": run.get("release"),
        "rollout": rollout.get("state"),
        "corrections": results.get("corrections"),
        "heldout": desk("heldout"),
        "paraphrases": desk("paraphrases"),
        "heldout_new": desk("heldout2") if number > 1 else None,
        "kept": _kept(results),
        "general": None
        if "base/general" not in results
        else compare_general(results["base/general"], results.get("served-general"), evidence),
        "gain": evidence.get("gain"),
        "contrast": evidence.get("contrast"),
        "canary": rollout.get("canary"),
        "form_during_rollout": rollout.get("form"),
        "while_training": run.get("meanwhile"),
        "stable_after": results.get("ledger", {}).get("stable"),
        "answered_by": None if served is None else served["heldout"]["releases"],
        "failed_requests": failed,
        "ledger": results.get("ledger", {}).get("ledger"),
        "seconds": {**seconds, "run_by_state": run.get("seconds")},
    }
    return report


def _kept(results: Steps) -> dict[str, Any] | None:
    """The first set's answers before and after a later cycle, paired: what the candidate kept."""
    if "before" not in results:
        return None
    served = results.get("served")
    compared = compare_desk(results["before"]["heldout"], None if served is None else served["heldout"])
    compared["category"].pop("confusion")
    return compared


def closed(report: Mapping[str, Any], cycles: int) -> list[str]:
    """What keeps the loop from being closed, in plain words; empty when it is."""
    missing = []
    done = report["cycles"]
    if len(done) < cycles:
        missing.append(f"{len(done)} of {cycles} cycles were played")
    for cycle in done:
        missing += [f"cycle {cycle['cycle']}: {what}" for what in _open_in_cycle(cycle)]
    stopped = report["stopped"]
    if len(stopped) < BAD_CANDIDATES:
        missing.append(f"{len(stopped)} of {BAD_CANDIDATES} bad candidates were tried")
    missing += [f"nothing stopped this candidate: {one['candidate']}" for one in stopped if one["by"] is None]
    if report["failed_requests"]:
        missing.append(f"{report['failed_requests']} requests failed")
    ledgers = (report["ledger"], report["ledger_shuffled"])
    if any(ledger is None or not ledger["adds_up"] for ledger in ledgers):
        missing.append("a ledger does not add up to what was acknowledged")
    return missing


def _open_in_cycle(cycle: Mapping[str, Any]) -> Iterable[str]:
    if cycle["rollout"] != "promoted" or cycle["release"] is None:
        yield f"no promoted release (run {cycle['run_state']}, rollout {cycle['rollout']})"
        return
    if cycle["answered_by"] != [cycle["release"]]:
        yield "the answers after the promotion did not all come from the promoted release"
    if cycle["stable_after"] != cycle["release"]:
        yield "the promoted release is not the channel's stable one"
    sets = {"held-out": cycle["heldout"]}
    if cycle["heldout_new"] is not None:
        sets["new category, held-out"] = cycle["heldout_new"]
    for name, figures in sets.items():
        right = figures["category"]
        if right["interval"] is None or right["interval"][0] <= right["base_interval"][1]:
            yield f"{name}: the lower bound after is not above the upper bound of the base"
    if cycle["ledger"] is None or not cycle["ledger"]["adds_up"]:
        yield "its ledger did not add up"


def table(report: Mapping[str, Any]) -> list[str]:
    """The report as lines for a terminal."""
    lines = []
    for cycle in report["cycles"]:
        lines += ["", f"  cycle {cycle['cycle']}    release {cycle['release']}   rollout {cycle['rollout']}", ""]
        lines.append(f"    {'':32} {'base':>8} {'served':>8} {'of':>5}   95% interval")
        for title, key in (("held-out", "heldout"), ("paraphrases", "paraphrases"), ("new category", "heldout_new")):
            for way in ("form", "category", "whole"):
                if cycle[key] is not None:
                    lines.append(_row(f"{title}: {_WAYS[way]}", cycle[key][way]))
        if cycle["kept"] is not None:
            lines.append(_row("first set, before and after", cycle["kept"]["category"]))
        lines += _general(cycle["general"]) + _gains(cycle) + _confusion(cycle) + _canary(cycle["canary"])
    lines += ["", "  bad candidates"]
    for stop in report["stopped"]:
        lines.append(f"    {stop['candidate']:34} {say_stop(stop)}")
    return lines + _ending(report)


_WAYS = {"form": "form kept", "category": "category right", "whole": "whole answer right"}


def _row(title: str, figures: Mapping[str, Any]) -> str:
    served = "-" if figures["served"] is None else figures["served"]
    return f"    {title:32} {figures['base']:>8} {served:>8} {figures['n']:>5}   {_span(figures['interval'])}"


def _span(interval: Sequence[float] | None) -> str:
    return "not measured" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}%"


def _general(general: Mapping[str, Any] | None) -> list[str]:
    if general is None or general["served"] is None:
        return ["    general questions                not measured"]
    kl = "not measured" if general["kl"] is None else f"{general['kl']:.4f}"
    points = f"{100 * general['difference']:+.1f} points [{_points(general['interval'])}]"
    return [
        f"    {'general questions right':32} {general['base']:>8} {general['served']:>8} {general['n']:>5}   {points}",
        f"    {'general: KL to the base':32} {kl}, leaks of the form {general['leaks']}",
    ]


def _points(interval: Sequence[float]) -> str:
    return ", ".join(f"{100 * bound:+.1f}" for bound in interval)


def _gains(cycle: Mapping[str, Any]) -> list[str]:
    gain, contrast = cycle["gain"], cycle["contrast"]
    told = f"{contrast['mean']:.0%} of pairs [{contrast['lower']:.0%}, {contrast['upper']:.0%}]" if contrast else None
    return [
        f"    {'paired gain (nats/token)':32} {say_gain(gain) if gain else 'not measured'}",
        f"    {'answers told apart':32} {told or 'not measured'}",
    ]


def say_gain(gain: Mapping[str, Any]) -> str:
    """A gain with its bounds; a bound that there is not is a dash."""
    low, high = ("-" if gain[key] is None else f"{gain[key]:+.3f}" for key in ("lower", "upper"))
    return f"{gain['mean']:+.3f} [{low}, {high}], n = {gain['n']}"


def _confusion(cycle: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in ("heldout", "heldout_new"):
        matrix = (cycle[key] or {}).get("category", {}).get("confusion")
        for wanted, given in (matrix or {}).items():
            wrong = ", ".join(f"{name} {n}" for name, n in given.items() if name != wanted)
            lines.append(f"      {wanted:18} right {given.get(wanted, 0):>3} of {sum(given.values()):>3}   {wrong}")
    return ["", "    what was taken for what", *lines] if lines else []


def _canary(canary: Sequence[Mapping[str, Any]] | None) -> list[str]:
    if not canary:
        return ["", "    the rollout was not seen"]
    lines = ["", "    stage   observed   requests   users   error rates up to this could have gone unseen"]
    for stage in canary:
        observed = "-" if stage["observed"] is None else f"{stage['observed']:.1f}%"
        bound = "-" if stage["bound"] is None else f"{100 * stage['bound']:.1f}%"
        lines.append(
            f"    {stage['weight']:>4g}%   {observed:>8}   {stage['requests']:>8}   {stage['units']:>5}   {bound}"
        )
    return lines


def _ending(report: Mapping[str, Any]) -> list[str]:
    ledger = report["ledger"]
    lines = [""]
    if ledger is not None:
        waiting, refused = sum(ledger["waiting"].values()), sum(ledger["refused"].values())
        lines.append(
            f"  ledger            {ledger['acknowledged']} acknowledged (the desk counted {ledger['desk']}): "
            f"{ledger['used']} used, {refused} refused, {waiting} waiting"
        )
    memory = report["peak_rss_mb"]
    lines.append(f"  failed requests   {report['failed_requests']} of {report['requests']}")
    lines.append(f"  peak memory       {'not measured' if memory is None else f'{memory} MiB'} ({report['memory']})")
    milestones = [
        f"{name.replace('_', ' ')} {_minutes(s)}" for name, s in report["milestones"].items() if s is not None
    ]
    lines.append(f"  time              {', '.join(milestones)}")
    if report["closed"]:
        return [*lines, "", "  The loop is closed."]
    return [*lines, "", "  The loop did NOT close:", *(f"    - {what}" for what in report["open"]), "", ANEW]


def say_stop(stop: Mapping[str, Any]) -> str:
    """Who stopped a bad candidate, in one line; the report has all of the service's words."""
    if stop["by"] is None:
        return "NOT STOPPED"
    words = f"stopped by {stop['by']}"
    return words if len(words) <= LINE else words[: LINE - 1] + "…"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
