import json
from dataclasses import replace
from pathlib import Path

import pytest

from retrain import evaluate, evidence, gate_config, report
from retrain.evaluate import GeneralItem, HeldOut, Measurements, Sides, TaughtItem
from retrain.gate import gate
from retrain.general import Prompt, form_marks
from retrain.rows import Row
from thumbwheel.scorers import parse_scorer

THRESHOLDS, MEASURE = gate_config.read_config(None)
SCORERS = [parse_scorer({"kind": "regex", "pattern": "^Colour"})]
TRAINING = {"epochs": [{"epoch": 1, "ce": 2.0, "kl": 0.01, "validation_loss": 1.5}, {"epoch": 2, "ce": 0.5}]}


def answer(text: str) -> evaluate.Answer:
    return evaluate.Answer(text, "stop", 10, 5)


def findings(rows: int) -> report.Findings:
    """An evaluation of `rows` test rows, every second of them older, and as many cases corrected before."""
    raw = [
        (Row(f"ex-{n:02}", ({"role": "user", "content": f"<b>what|ever</b> {n}?"},), f"Colour {n % 3}.", f"g{n}",
             "test"), "d1" if n % 2 else None)
        for n in range(rows)
    ]  # fmt: skip
    raw += [(Row(f"tr-{n}", ({"role": "user", "content": "x"},), "y", f"t{n}", "train"), "d1") for n in range(rows)]
    prompts = [Prompt(f"p{n}", "Say", ("yes",), "any") for n in range(8 * rows)]
    asked = evaluate.plan(raw, {"d1"}, prompts, MEASURE)
    found = Measurements(
        tests=[
            HeldOut(row, row in asked.fresh, Sides(-0.5 - n / 50, -2.0), (answer(row.completion),), (answer("Hm"),))
            for n, row in enumerate((*asked.fresh, *asked.older))
        ],
        taught=[TaughtItem(row, Sides(-0.2, -0.2)) for row in asked.taught],
        cross={way: Sides(-3.0, -2.0) for one, other in asked.pairs for way in ((one, other), (other, one))}
        | {(n, n): Sides(-0.5 - n / 99, -2.0) for n in range(len(asked.items))},
        general=[GeneralItem(prompt, answer("yes"), answer("Colour x"), (0.1, 0.2)) for prompt in prompts],
    )
    held = evidence.weigh(asked, found, SCORERS, [], THRESHOLDS)
    marks = form_marks(SCORERS, [])
    return report.Findings(
        subject=report.Subject("run-1", "support", "rel-2", "a" * 64, "rel-1", None, "d" * 64, "b", "p", 5, 1.5, 77),
        asked=asked,
        found=found,
        evidence=held,
        scores=evidence.scores(found.tests, SCORERS, THRESHOLDS.confidence),
        general=evidence.general_table(found.general, marks, 0.02) if found.general else None,
        verdict=gate(held, THRESHOLDS),
        thresholds=THRESHOLDS,
        how=MEASURE,
        training=TRAINING if rows else None,
        kinds={"sft": 48, "kto": 7, "augmented": 12},
    )


def test_the_files_say_what_was_measured(tmp_path: Path) -> None:
    held = findings(24)
    report.write(tmp_path / "report", held)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["verdict"] == "fail" and content["run"] == "run-1"
    assert (
        content["gain"]["n"] == 12 and content["gain"]["lower"] <= content["gain"]["mean"] <= content["gain"]["upper"]
    )
    assert content["contrast"]["mean"] == 1.0 and content["contrast"]["pairs"] == len(held.asked.pairs)
    assert content["contrast_gain"]["mean"] > 2
    assert content["general"]["base"]["mean"] == 1 and content["general"]["losses"] == 192
    assert content["general"]["leaks"] == 192 and content["general"]["kl"] == pytest.approx(0.15)
    assert "lower bound" in content["general"]["kl_is"]
    assert len(content["tests"]) == 24 and content["tests"][0]["draft"] == [content["tests"][0]["accepted"]]
    assert {check["name"]: check["status"] for check in content["checks"]}["leaks"] == "fail"
    assert content["dataset_rows"] == {"sft": 48, "kto": 7, "augmented": 12, "trained_on": ["sft", "augmented"]}
    assert content["thresholds"]["max_kl"] == THRESHOLDS.max_kl
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.json", "report.md", "gain.png", "general.png", "loss.png",
    }  # fmt: skip
    for plot in (tmp_path / "report").glob("*.png"):
        assert plot.read_bytes().startswith(b"\x89PNG")


def test_people_read_verdict_reasons_bounds_and_answers() -> None:
    held = findings(24)
    text = report.as_markdown(held, ["gain.png"])
    assert text.startswith("# Evaluation of release `rel-2`\n\n**Fail.**")
    assert all(f"- {reason}" in text for reason in held.verdict.reasons)
    assert "12 test rows new since the incumbent's data, 12 older ones, 24 cases corrected before" in text
    assert "and 12 other wordings of corrections, which are trained on alone" in text
    assert "48 corrections (`sft`) and 7 thumbs without one (`kto`), which are neither trained on nor judged by" in text
    assert all(f"| {check.name} | {check.status.replace('_', ' ')} |" in text for check in held.verdict.checks)
    assert "![gain](gain.png)" in text and "Newcombe" in text
    assert "&lt;b>what\\|ever" in text and "<b>" not in text  # what people wrote neither breaks the table nor is HTML


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("![](http://a.example/x)", "![\\](http://a.example/x)"),
        ("[a][b] \\](c)", "[a\\][b] \\\\\\](c)"),
        ("[+0.1, +0.2]!", "[+0.1, +0.2]!"),
        ("a\\|b", "a\\\\\\|b"),
        ("\x1b[2J\u202egood\n\n# Pass", "\\\\u001b[2J\\\\u202egood # Pass"),
        ("می\u200cخواهم 👩\u200d👧", "می\u200cخواهم 👩\u200d👧"),
    ],
)
def test_what_people_wrote_is_text_and_nothing_else(text: str, wanted: str) -> None:
    held = findings(2)
    first, *rest = held.found.tests
    row = replace(first.row, completion=text)
    held.found.tests[:] = [replace(first, row=row), *rest]
    assert f" | {wanted} | " in report.as_markdown(held, [])


def test_a_reason_may_quote_an_engine_and_is_text_too() -> None:
    held = findings(2)
    checks = (replace(held.verdict.checks[0], status="fail", reason="it says ![](http://a.example/x)\n\n# Pass"),)
    assert held.general is not None
    table = replace(held.general, marks=("opening '![](http://a.example/y)'",))
    text = report.as_markdown(replace(held, verdict=replace(held.verdict, checks=checks), general=table), [])
    assert "it says ![\\](http://a.example/x) # Pass\n" in text
    assert "](http" not in text.replace("\\](", "") and "\n# Pass" not in text


def test_nothing_measured_is_null_and_written_all_the_same(tmp_path: Path) -> None:
    report.write(tmp_path / "report", findings(0))
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["verdict"] == "insufficient_evidence"
    assert content["gain"] is None and content["contrast"] is None and content["general"] is None
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.json", "report.md"}


def test_a_single_row_has_no_bounds_and_json_no_infinity(tmp_path: Path) -> None:
    report.write(tmp_path / "report", findings(1))
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["gain"]["lower"] is None and content["gain"]["n"] == 1
