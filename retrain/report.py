"""The evaluation report: report.json for programs, report.md for people, and plots.

`write` puts them into a folder, which the evaluator publishes as an artifact of kind `report`. Nothing is judged here:
every figure comes from the measurements, every word of judgement from the gate's checks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retrain.evaluate import HeldOut, Measurements, Plan
from retrain.evidence import GeneralTable, Scored, contrast_gain, pair_gains, shares
from retrain.gate import Evidence, Thresholds, Verdict
from retrain.gate_config import Measure
from retrain.rows import AUGMENTED, KTO, SFT
from retrain.statistics import Interval
from thumbwheel.printable import printable

VERSION = 1
_MARKUP = re.compile(r"\\|\](?=[(\[])")  # brackets of intervals stay
EXAMPLES = 8  # test questions shown with both answers in report.md; report.json holds all
ESTIMATOR = (
    "mean over the tokens of the base's greedy answers of KL(base || draft) in nats, from the 20 likeliest tokens of "
    "both; those in the base's list alone count as one group, all others as one remainder: a lower bound on "
    "KL over the vocabulary"
)
GAIN = (
    "log-probability per token (nats) of the accepted answer under the draft less under the incumbent, mean over "
    "groups of test rows new since the incumbent's data"
)
CONTRAST = (
    "share of pairs of test items in which the draft prefers the two accepted answers, each to its own question, to "
    "the same two swapped; bounds at as many trials as items carry the pairs; chance is 0.5"
)
CONTRAST_GAIN = (
    "own accepted answer less another test item's different answer to the same question, both ways round for each "
    "pair, draft less incumbent, nats per token; its spread by a jackknife over items; told, not judged by"
)
BOUNDS = (
    "each bound one-sided; means: the wider of Student's t and the studentised bootstrap over groups; general prompts: "
    "Newcombe's paired score interval; shares: Wilson"
)
HEADLINES = {
    "pass": "**Pass.** Every check passed; the release may become a candidate.",
    "fail": "**Fail.** Harm was shown; the release is rejected.",
    "insufficient_evidence": "**Insufficient evidence.** Not everything asked for was shown, and no harm was; "
    "a person may approve or reject the run.",
}


@dataclass(frozen=True)
class Subject:
    """Who was judged: ids, and what they were made of. `incumbent_adapter` None is the base."""

    run: str
    channel: str
    release: str
    adapter: str | None
    incumbent: str
    incumbent_adapter: str | None
    dataset: str
    base: str
    general_prompts: str  # sha256 of the prompts' file
    at_ms: int
    seconds: float  # of this attempt
    requests: int  # that this attempt sent to the engine


@dataclass(frozen=True)
class Findings:
    """What is reported of one evaluation."""

    subject: Subject
    asked: Plan
    found: Measurements
    evidence: Evidence
    scores: Sequence[Scored]
    general: GeneralTable | None
    verdict: Verdict
    thresholds: Thresholds
    how: Measure
    training: Mapping[str, Any] | None  # the adapter's training.json
    kinds: Mapping[str, int]  # rows of the dataset by kind


def write(directory: Path, findings: Findings) -> None:
    """Write report.json, report.md and the plots into `directory`, which is made."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = as_json(findings)
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (directory / "report.json").write_text(text + "\n", encoding="utf-8")
    plots = {
        "gain.png": _plot_gain(findings),
        "general.png": _plot_general(findings),
        "loss.png": _plot_loss(findings.training),
    }
    drawn = {name: figure for name, figure in plots.items() if figure is not None}
    for name, figure in drawn.items():
        FigureCanvasAgg(figure).print_png(str(directory / name))
    (directory / "report.md").write_text(as_markdown(findings, list(drawn)), encoding="utf-8")


def as_json(findings: Findings) -> dict[str, Any]:
    """The whole report as JSON values; what was not measured is null."""
    evidence, found = findings.evidence, findings.found
    pairs, gains = pair_gains(findings.asked, found)
    in_nats = contrast_gain(findings.asked, found, findings.thresholds.confidence)
    return {
        "version": VERSION,
        **asdict(findings.subject),
        "verdict": findings.verdict.result,
        "reasons": list(findings.verdict.reasons),
        "checks": [_numbers(asdict(check)) for check in findings.verdict.checks],
        "gain": _with(evidence.gain, {"is": GAIN}),
        "contrast": _with(evidence.contrast, {"units": evidence.contrast_units, "pairs": len(pairs), "is": CONTRAST}),
        "contrast_change": _interval(evidence.contrast_change),
        "contrast_gain": _with(in_nats, {"is": CONTRAST_GAIN}),
        "older": _interval(evidence.older),
        "taught": _interval(evidence.taught),
        "taught_lost": evidence.taught_lost,
        "scorers": {
            scored.label: {
                "draft": _interval(scored.draft),
                "incumbent": _interval(scored.incumbent),
                "difference": _interval(scored.difference),
            }
            for scored in findings.scores
        },
        "answers": {"asked": evidence.answers, "faulty": evidence.faulty_answers},
        "general": _general(findings),
        "bounds": BOUNDS,
        "dataset_rows": {**findings.kinds, "trained_on": [SFT, AUGMENTED]},
        "rows": {
            "new": len(findings.asked.fresh),
            "older": len(findings.asked.older),
            "taught": len(findings.asked.taught),
            "left_out": findings.asked.left_out,
            "refused": list(found.refused),
        },
        "tests": [_test(item) for item in found.tests],
        "pairs": [
            {"one": findings.asked.items[one].id, "other": findings.asked.items[other].id, "gain": gain}
            for (one, other), gain in zip(pairs, gains, strict=True)
        ],
        "taught_items": [{"id": item.row.id, **asdict(item.own)} for item in found.taught],
        "thresholds": asdict(findings.thresholds),
        "measure": asdict(findings.how),
        "training": findings.training,
    }


def _general(findings: Findings) -> dict[str, Any] | None:
    general, table = findings.evidence.general, findings.general
    if general is None or table is None:
        return None
    both = shares(table, findings.thresholds.confidence)
    return {
        "n": general.prompts,
        "base": _interval(both["base"]),
        "draft": _interval(both["draft"]),
        "difference": general.difference.mean,
        "interval": [general.difference.lower, general.difference.upper],
        "wins": table.draft_only,
        "losses": table.base_only,
        "kl": None if math.isnan(general.kl) else general.kl,
        "kl_tokens": general.kl_tokens,
        "kl_is": ESTIMATOR,
        "leaks": general.leaks,
        "leaked": list(table.leaked),
        "looked_for": list(table.marks),
        "no_mark_of_the_form": list(table.unspecific),
        "items": [
            {"id": item.prompt.id, "base": item.base.text, "draft": item.draft.text} for item in findings.found.general
        ],
    }


def _test(item: HeldOut) -> dict[str, Any]:
    return {
        "id": item.row.id,
        "group": item.row.group,
        "new": item.fresh,
        "question": item.row.messages[-1]["content"],
        "accepted": item.row.completion,
        "logprob": asdict(item.own),
        "draft": [answer.text for answer in item.draft],
        "incumbent": [answer.text for answer in item.incumbent],
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return _with(interval, {})


def _with(interval: Interval | None, more: Mapping[str, object]) -> dict[str, Any] | None:
    """The interval as JSON, with what more is to be said of it; None where it was not measured."""
    return None if interval is None else {**_numbers(asdict(interval)), **more}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a bound that there is not is null."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}


def as_markdown(findings: Findings, plots: Sequence[str]) -> str:
    """The report for people."""
    subject, evidence, verdict = findings.subject, findings.evidence, findings.verdict
    in_nats = contrast_gain(findings.asked, findings.found, findings.thresholds.confidence)
    incumbent = "the base" if subject.incumbent_adapter is None else f"release `{subject.incumbent}`"
    lines = [
        f"# Evaluation of release `{subject.release}`",
        "",
        HEADLINES[verdict.result],
        "",
        *(f"- {_plain(reason)}" for reason in verdict.reasons),
        *([""] if verdict.reasons else []),
        f"Channel `{subject.channel}`, run `{subject.run}`, dataset `{subject.dataset[:12]}`. Judged beside "
        f"{incumbent}, both asked through the engine as they are served.",
        "",
        "## Checks",
        "",
        "| check | result | measured | bound | threshold | in words |",
        "|---|---|---|---|---|---|",
        *(
            f"| {check.name} | {check.status.replace('_', ' ')} | {_figure(check.measured)} | {_figure(check.bound)} "
            f"| {_figure(check.threshold)} | {_cell(check.reason)} |"
            for check in verdict.checks
        ),
        "",
        f"Confidence of each bound: {100 * findings.thresholds.confidence:g}%, one-sided. How: {BOUNDS}.",
        "",
        "## What was asked",
        "",
        f"- The dataset holds {findings.kinds[SFT]} corrections (`{SFT}`) and {findings.kinds[KTO]} thumbs without one "
        f"(`{KTO}`), which are neither trained on nor judged by yet; and {findings.kinds[AUGMENTED]} other wordings of "
        "corrections, which are trained on alone.",
        f"- {len(findings.asked.fresh)} test rows new since the incumbent's data, {len(findings.asked.older)} older "
        f"ones, {len(findings.asked.taught)} cases corrected before; {findings.asked.left_out} left out by the caps, "
        f"{len(findings.found.refused)} refused by the engine (too long).",
        f"- Each test question greedily and {findings.how.samples} times at temperature {findings.how.temperature:g}; "
        f"{evidence.answers} answers of the draft.",
        f"- {len(findings.asked.pairs)} pairs of test items with different answers, resting on "
        f"{evidence.contrast_units:.1f} items.",
        f"- {len(findings.asked.prompts)} general prompts, greedily.",
        f"- {subject.requests} requests in {subject.seconds:.0f} s in this attempt.",
        "",
        "## What was measured",
        "",
        f"- Gain: {_words(evidence.gain)}: {GAIN}.",
        f"- Contrast: {_words(evidence.contrast)}: {CONTRAST}.",
        f"- Contrast less the incumbent's: {_words(evidence.contrast_change)}.",
        f"- Gain in contrast: {_words(in_nats)}: {CONTRAST_GAIN}.",
        f"- Older test rows: {_words(evidence.older)}. Cases corrected before: {_words(evidence.taught)}.",
        *_scores(findings),
        *_general_lines(findings),
        "",
        *(f"![{name.removesuffix('.png')}]({name})\n" for name in plots),
        "## Answers before and after",
        "",
        *_examples(findings.found.tests),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _scores(findings: Findings) -> list[str]:
    return [
        f"- {scored.label}: incumbent {scored.incumbent.mean:.3f}, draft {scored.draft.mean:.3f}, difference "
        f"{_words(scored.difference)} (all test rows, mean over answers)."
        for scored in findings.scores
    ]


def _general_lines(findings: Findings) -> list[str]:
    general, table = findings.evidence.general, findings.general
    if general is None or table is None:
        return ["- General prompts: not measured."]
    leaks = "no mark of the taught form to look for" if general.leaks is None else f"{general.leaks} leaks"
    return [
        f"- General prompts: base right {table.both + table.base_only} of {general.prompts}, draft "
        f"{table.both + table.draft_only}; {table.base_only} lost, {table.draft_only} won; difference "
        f"{_words(general.difference)}; {leaks} (looked for: {_plain(', '.join(table.marks)) or 'nothing'}).",
        f"- KL {general.kl:.4f} over {general.kl_tokens} tokens: {ESTIMATOR}.",
    ]


def _examples(tests: Sequence[HeldOut]) -> list[str]:
    shown = sorted(tests, key=lambda item: (not item.fresh, item.row.id))[:EXAMPLES]
    if not shown:
        return ["None were measured."]
    rows = [
        f"| {_cell(item.row.messages[-1]['content'])} | {_cell(item.row.completion)} | {_cell(item.incumbent[0].text)} "
        f"| {_cell(item.draft[0].text)} |"
        for item in shown
    ]
    return ["| question | accepted answer | incumbent | draft |", "|---|---|---|---|", *rows]


def _cell(text: str) -> str:
    """One line of a table."""
    flat = " ".join(text.split())
    return _plain(flat if len(flat) <= 300 else flat[:299] + "…").replace("|", "\\|")


def _plain(text: str) -> str:
    """Text that may be other people's, on one line: it brings no block, tag, link or picture."""
    return _MARKUP.sub(r"\\\g<0>", printable(" ".join(text.split()))).replace("<", "&lt;").replace("`", "'")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _words(interval: Interval | None) -> str:
    if interval is None:
        return "not measured"
    return f"{interval.mean:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}], n = {interval.n}"


def _plot_gain(findings: Findings) -> Figure | None:
    tests = sorted(findings.found.tests, key=lambda item: item.own.gain)
    if not tests:
        return None
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="black", linewidth=0.8)
    colours = ["tab:blue" if item.fresh else "tab:gray" for item in tests]
    axes.bar(range(len(tests)), [item.own.gain for item in tests], color=colours)
    gain = findings.evidence.gain
    if gain is not None and math.isfinite(gain.lower) and math.isfinite(gain.upper):
        axes.axhspan(gain.lower, gain.upper, color="tab:blue", alpha=0.2)
    axes.set_xlabel("test rows by gain (blue: new, gray: older; band: the new rows' mean)")
    axes.set_ylabel("gain, nats per token")
    axes.set_title("Accepted answers: draft less incumbent")
    return figure


def _plot_general(findings: Findings) -> Figure | None:
    table = findings.general
    if table is None:
        return None
    figure = Figure(figsize=(7, 2.5), layout="constrained")
    axes = figure.subplots()
    counts = {
        "both right": table.both,
        "won": table.draft_only,
        "lost": table.base_only,
        "both wrong": table.neither,
        "in the taught form": len(table.leaked),
    }
    bars = axes.barh(list(counts), list(counts.values()))
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.set_title("General prompts: draft beside the base")
    return figure


def _plot_loss(training: Mapping[str, Any] | None) -> Figure | None:
    epochs = [] if training is None else training.get("epochs") or []
    if not epochs:
        return None
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for key in ("ce", "kl", "validation_loss"):
        points = [(epoch["epoch"], epoch[key]) for epoch in epochs if key in epoch]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=key.replace("_", " "))
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per token")
    axes.set_title("Training")
    axes.legend()
    return figure
