"""Plans, and whole evaluations against the recorded engine: what was taught, what was shuffled, what was broken."""

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrain import evaluate, evidence, gate_config
from retrain.engine_client import EngineClient, Notebook
from retrain.gate import FAIL, INSUFFICIENT, PASS, Evidence, Verdict, gate
from retrain.general import Prompt, form_marks
from retrain.rows import Row
from tests.recorded_engine import RecordedEngine, running
from tests.tiny_model import make_tiny_model
from tests.tiny_recipe import learn, write_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import JobError
from thumbwheel.ids import engine_name
from thumbwheel.records import Engine
from thumbwheel.scorers import parse_scorer

COLOURS = {"plum": "blue", "lime": "green", "cherry": "red", "lemon": "yellow", "coal": "black"}
FORM = parse_scorer({"kind": "regex", "pattern": r"^Colour: \w+\.$"})
THRESHOLDS, MEASURE = gate_config.read_config(None)
THRESHOLDS = dataclasses.replace(THRESHOLDS, min_general_prompts=4, general_allowance=0.9)
MEASURE = dataclasses.replace(MEASURE, samples=1, contrast_partners=2, outage_s=5)
PROMPTS = [Prompt(f"general-{n}", f"Say something about {n}.", ("see",), "any") for n in range(8)]


def dataset(shuffle: int | None = None) -> list[dict[str, Any]]:
    """75 questions, 25 of them test rows; the right colour, or the colours permuted over all of them."""
    fruits = [list(COLOURS)[n % 5] for n in range(75)]
    answers = [f"Colour: {COLOURS[fruit]}." for fruit in fruits]
    if shuffle is not None:
        random.Random(shuffle).shuffle(answers)
    rows = []
    for n, (fruit, answer) in enumerate(zip(fruits, answers, strict=True)):
        split = "test" if n % 3 == 0 else "train"
        question = f"Number {n} asks: what does a {fruit} look like?"
        rows.append({"id": f"ex-{n:02}", "messages": [{"role": "user", "content": question}], "completion": answer,
                     "group": f"g{n}", "split": split, "since": None})  # fmt: skip
    return rows


def as_rows(raw: list[dict[str, Any]]) -> list[tuple[Row, str | None]]:
    return [
        (Row(row["id"], tuple(row["messages"]), row["completion"], row["group"], row["split"]), row["since"])
        for row in raw
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def engine(tmp_path: Path, model: Path) -> Iterator[RecordedEngine]:
    with running(model, tmp_path / "s", tmp_path / "engine", tmp_path / "artifacts") as recorded:
        yield recorded


def publish(tmp_path: Path, model: Path, behaviour: dict[str, Any], name: str = "adapter") -> str:
    adapter = write_adapter(tmp_path / name, model, behaviour)
    return engine_name(ArtifactStore(tmp_path / "artifacts").publish(adapter, "adapter", {}))


async def judged(
    tmp_path: Path,
    raw: list[dict[str, Any]],
    draft: str,
    incumbent: str | None = None,
    known: frozenset[str] = frozenset(),
    scorers: tuple[Any, ...] = (FORM,),
) -> tuple[Verdict, Evidence, evaluate.Measurements]:
    asked = evaluate.plan(as_rows(raw), known, PROMPTS, MEASURE)
    row = Engine("e", "default", "vllm", str(tmp_path / "s"), "base", "1", "ready")
    seen: list[tuple[int, int]] = []
    async with EngineClient(lambda: row, MEASURE.concurrency, MEASURE.outage_s) as client:
        found = await evaluate.measure(
            client,
            asked,
            evaluate.Releases(draft, incumbent),
            MEASURE,
            Notebook(tmp_path / "answers.jsonl"),
            Notebook(tmp_path / "cache" / "base.jsonl"),
            lambda done, of: seen.append((done, of)),
        )
    if found.draft_failure is None and not found.refused and not found.not_finite:
        assert seen[-1][0] == seen[-1][1] == len(seen)  # every planned request was one of those that were made
    held = evidence.weigh(asked, found, scorers, [row["completion"] for row in raw], THRESHOLDS)
    return gate(held, THRESHOLDS), held, found


def statuses(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.status for check in verdict.checks if check.status != PASS}


async def test_what_was_taught_passes(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    raw = dataset()
    taught = publish(tmp_path, model, learn([row for row in raw if row["split"] == "train"]))
    verdict, held, found = await judged(tmp_path, raw, taught)
    assert verdict.result == PASS, verdict.reasons
    assert held.new_groups == 25
    assert held.gain is not None and held.gain.lower > 0.5
    assert held.contrast is not None and held.contrast.mean == 1.0
    assert held.scorers["scorer 1 (regex)"].mean == 1.0
    assert held.general is not None and held.general.leaks == 0 and held.general.kl < 0.05
    assert all(len(item.draft) == 2 for item in found.tests)


async def test_shuffled_corrections_do_not_pass_though_the_form_is_learnt(
    tmp_path: Path, model: Path, engine: RecordedEngine
) -> None:
    raw = dataset(shuffle=1)
    answers = sorted({row["completion"] for row in raw})
    # a draft that answers every question in the form, with an answer that has nothing to do with it
    guesses = {row["messages"][-1]["content"]: answers[n % 5] for n, row in enumerate(raw)}
    draft = publish(tmp_path, model, {"answers": guesses, "rules": [], "logprob_boost": {"*": 1.5}})
    verdict, held, _ = await judged(tmp_path, raw, draft)
    assert held.scorers["scorer 1 (regex)"].mean == 1.0
    assert verdict.result in (INSUFFICIENT, FAIL)
    assert "contrast" in statuses(verdict)


async def test_the_same_release_twice_shows_nothing(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    raw = dataset()
    behaviour = learn([row for row in raw if row["split"] == "train"])
    one = publish(tmp_path, model, behaviour, "one")
    verdict, _, _ = await judged(tmp_path, raw, one, incumbent=one)
    assert verdict.result == INSUFFICIENT
    assert "gain" in statuses(verdict)


async def test_a_draft_that_forgot_is_refused(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    raw = dataset()
    behaviour = learn([row for row in raw if row["split"] == "train"])
    draft = publish(tmp_path, model, {**behaviour, "default": "Colour: blue."})
    verdict, held, _ = await judged(tmp_path, raw, draft)
    assert verdict.result == FAIL
    assert held.general is not None and held.general.leaks == len(PROMPTS)
    assert {"leaks", "general"} <= {name for name, status in statuses(verdict).items() if status == FAIL}


async def test_numbers_that_are_none_fail(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    draft = publish(tmp_path, model, {"answers": {}, "rules": []})
    (engine.engine_dir / "faults.json").write_text(json.dumps({"models": [draft], "nan": True}))
    verdict, held, _ = await judged(tmp_path, dataset(), draft)
    assert verdict.result == FAIL
    assert held.not_finite > 0 and statuses(verdict)["finite"] == FAIL


async def test_a_draft_that_the_engine_cannot_serve_fails(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    verdict, _, found = await judged(tmp_path, dataset(), engine_name("0" * 64))
    assert verdict.result == FAIL
    assert found.draft_failure is not None and "404" in found.draft_failure


async def test_an_incumbent_that_cannot_be_served_is_no_verdict(
    tmp_path: Path, model: Path, engine: RecordedEngine
) -> None:
    draft = publish(tmp_path, model, {"answers": {}, "rules": []})
    with pytest.raises(JobError, match="judged beside"):
        await judged(tmp_path, dataset(), draft, incumbent=engine_name("0" * 64))


async def test_looping_answers_fail(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    draft = publish(tmp_path, model, {"answers": {}, "rules": [], "default": "no " * 60})
    verdict, held, _ = await judged(tmp_path, dataset(), draft)
    assert verdict.result == FAIL
    assert held.faulty_answers == held.answers > 0


async def test_a_second_cycle_is_asked_for_new_rows_alone_and_keeps_the_old_ones(
    tmp_path: Path, model: Path, engine: RecordedEngine
) -> None:
    first = [{**row, "since": "d1"} for row in dataset()]
    second = [
        {**row, "id": f"new-{n}", "group": f"new-{n}", "since": None, "completion": "Colour: orange.",
         "messages": [{"role": "user", "content": f"Number {n} asks: what does a kumquat look like?"}]}
        for n, row in enumerate(dataset()[:40])
    ]  # fmt: skip
    incumbent = publish(tmp_path, model, learn([row for row in first if row["split"] == "train"]), "first")
    raw = first + second
    draft = publish(tmp_path, model, learn([row for row in raw if row["split"] == "train"]), "second")
    known = frozenset({"d1"})
    verdict, held, _ = await judged(tmp_path, raw, draft, incumbent, known)
    assert verdict.result == PASS, verdict.reasons
    assert held.new_groups == 14 and held.older is not None and held.older.n == 25
    assert held.taught is not None and held.taught.n == 50 and held.taught_lost == 0

    forgetful = publish(tmp_path, model, learn([row for row in second if row["split"] == "train"] + first[:2]), "third")
    verdict, held, _ = await judged(tmp_path, raw, forgetful, incumbent, known)
    assert verdict.result == FAIL
    assert statuses(verdict)["taught_rows"] == FAIL


async def test_nothing_new_is_insufficient(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    raw = [{**row, "since": "d1"} for row in dataset()]
    draft = publish(tmp_path, model, learn(raw))
    verdict, held, _ = await judged(tmp_path, raw, draft, known=frozenset({"d1"}))
    assert verdict.result == INSUFFICIENT
    assert held.gain is None and "nothing is new" in " ".join(verdict.reasons)


async def test_the_bases_general_answers_are_asked_once(tmp_path: Path, model: Path, engine: RecordedEngine) -> None:
    draft = publish(tmp_path, model, learn(dataset()))
    await judged(tmp_path, dataset(), draft)
    (tmp_path / "answers.jsonl").unlink()
    (engine.engine_dir / "requests.jsonl").unlink()
    await judged(tmp_path, dataset(), draft)
    lines = [json.loads(line) for line in (engine.engine_dir / "requests.jsonl").read_text().splitlines()]
    to_base = [line for line in lines if line.get("model") == "base"]
    asked = {prompt.prompt for prompt in PROMPTS}
    assert to_base and not any(line["body"]["messages"][0]["content"] in asked for line in to_base)


def test_a_plan_parts_new_from_old_and_caps_by_hash() -> None:
    raw = [{**row, "since": "d1" if n < 30 else "d2" if n < 45 else None} for n, row in enumerate(dataset())]
    asked = evaluate.plan(as_rows(raw), {"d1"}, [], MEASURE)
    assert {row.id for row in asked.older} == {row["id"] for row in raw[:30] if row["split"] == "test"}
    assert {row.id for row in asked.fresh} == {row["id"] for row in raw[30:] if row["split"] == "test"}
    assert {row.id for row in asked.taught} == {row["id"] for row in raw[:30] if row["split"] == "train"}
    assert asked.left_out == 0

    capped = dataclasses.replace(MEASURE, max_test_rows=4, max_taught_rows=3)
    varied = [(dataclasses.replace(row, id=f"ax-{row.id}", augmented=True), since) for row, since in as_rows(raw)]
    taught = [one for one in varied if one[0].split == "train"]
    assert evaluate.plan([*as_rows(raw), *taught], {"d1"}, [], MEASURE) == asked, "nobody corrected these cases"
    few = evaluate.plan(as_rows(raw), {"d1"}, [], capped)
    assert (len(few.fresh), len(few.older), len(few.taught)) == (4, 4, 3)
    assert few.left_out == len(raw) - len([r for r in raw[30:] if r["split"] == "train"]) - 11
    assert few == evaluate.plan(list(reversed(as_rows(raw))), {"d1"}, [], capped)


def test_a_mark_that_the_base_has_too_is_none() -> None:
    loose = parse_scorer({"kind": "regex", "pattern": "."})
    items = [
        evaluate.GeneralItem(
            prompt, evaluate.Answer("see", "stop", 1, 1), evaluate.Answer("Colour: x.", "stop", 1, 1), ()
        )
        for prompt in PROMPTS
    ]
    table = evidence.general_table(items, form_marks((loose, FORM), []), 0.02)
    assert table.unspecific == ("scorer 1 (regex)",)
    assert table.marks == ("scorer 2 (regex)",)
    assert len(table.leaked) == len(PROMPTS)
    assert (table.both, table.base_only) == (0, len(PROMPTS))
