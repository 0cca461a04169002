"""docs/datasets.md says what the code does: its forms are read, its options are the command's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from feedback.dataset import run
from feedback.forms import FORMS, KINDS, Row, form_of, read_row
from feedback.imports import FAULTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    (table,) = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [line.split("|")[1].strip() for line in table.splitlines()]


def test_each_example_is_of_its_form_and_is_read() -> None:
    (block,) = re.findall(r"^```jsonl\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    records = [json.loads(line) for line in block.splitlines()]
    rows = [read_row(record) for record in records]
    assert all(isinstance(row, Row) for row in rows), rows
    assert [form_of(record) for record in records] == ["sharegpt"] * 2 + ["alpaca"] * 2 + ["hf"] * 2
    assert [isinstance(row, Row) and row.rejected is not None for row in rows] == [False, True] * 3


def test_forms_and_kinds_are_all_that_there_are() -> None:
    assert [cell.strip("`") for cell in first_cells("`--format`")] == list(FORMS)
    assert [cell.strip("`") for cell in first_cells("`--kind`")] == list(KINDS)
    assert FAULTS == 10 and "the first ten" in " ".join(PAGE.split())


def test_options_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    told = capsys.readouterr().out
    options = set(re.findall(r"--[a-z]+", PAGE))
    assert options == set(re.findall(r"--[a-z]+", told)) - {"--help", "--home"}
