from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from typing import Any

import pytest

from feedback.join import Joined
from feedback.names import By, NameFinder, compute, event_id, finder, language_of, names_in, wanted
from thumbwheel.errors import JobError
from thumbwheel.events import ComputedEvent, decode, encode

MODEL = "en_core_web_sm"
HERE = all(importlib.util.find_spec(package) for package in ("presidio_analyzer", MODEL))


def test_a_model_that_is_not_installed_is_named() -> None:
    with pytest.raises(JobError, match=r"presidio_analyzer|no_such_model"):
        finder({"en": "no_such_model"})


@pytest.mark.parametrize(
    ("text", "language"), [("Hello", "en"), ("你好", "zh"), ("我用 Excel 打不开文件", "zh"), ("", "en")]
)
def test_a_texts_language_is_its_script(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.skipif(not HERE, reason=f"finds names only with the extra: pip install 'thumbwheel[names]' and {MODEL}")
def test_names_are_found_in_every_text_of_a_row() -> None:
    asked = [{"role": "user", "content": "Please ask John Smith about my order."}]
    model = finder({"en": MODEL})
    event = compute(row(asked), model, "support", 7)
    assert names_in(row(asked), event) == ("John Smith",)
    assert model.by.model == f"presidio_analyzer, {MODEL}" and model.by.version.count(", ") == 1


def row(messages: list[dict[str, str]] | None, **fields: Any) -> Joined:
    held = Joined("fb-1", "inf-1", "ann", "user", 1, 0, "Ask Ann Lee.", "waiting", None, messages, "Ask Bob.")
    return replace(held, **fields)


ANN = NameFinder(By("model", "1"), lambda text: [(at.start(), at.end()) for at in re.finditer("Ann Lee| Bob", text)])
ASKED = [{"role": "user", "content": "Who is\u200b Ann Lee?"}]


def test_what_is_recorded_says_where_names_stand_and_holds_none() -> None:
    event = compute(row(ASKED), ANN, "support", 7, ("Bob or Ann Lee", "Bob"))
    assert names_in(row(ASKED), event, ("Bob or Ann Lee", "Bob")) == ("Ann Lee", "Bob")
    assert "Ann" not in encode(event).decode() and "Bob" not in encode(event).decode()
    back = decode(encode(event))
    assert isinstance(back, ComputedEvent) and names_in(row(ASKED), back, ("Bob or Ann Lee", "Bob")) == (
        "Ann Lee",
        "Bob",
    )


def test_other_texts_models_and_versions_are_computed_anew() -> None:
    first = event_id(row(ASKED), ANN.by)
    assert event_id(row(ASKED, state="used", at_ms=9), ANN.by) == first
    others = [
        event_id(row(ASKED, correction="Ask Ann."), ANN.by),
        event_id(row([{"role": "user", "content": "Who?"}]), ANN.by),
        event_id(row(ASKED), By("model", "2")),
        event_id(row(ASKED), By("other", "1")),
        event_id(row(ASKED), ANN.by, ("Bob",)),
        event_id(row(ASKED, feedback="fb-2"), ANN.by),
    ]
    assert len({first, *others}) == 7


def test_names_are_looked_for_only_in_what_might_be_learnt_from() -> None:
    assert wanted(row(ASKED)) and wanted(row(ASKED, correction=None, thumb="down"))
    assert not wanted(row(None)) and not wanted(row(ASKED, barred="foreign"))
    assert not wanted(row(ASKED, correction=None))
