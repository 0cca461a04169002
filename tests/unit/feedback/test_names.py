from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from feedback.join import Joined
from feedback.names import By, NameFinder, compute, event_id, finder, language_of, names_in, wanted
from thumbwheel.errors import JobError
from thumbwheel.events import ComputedEvent, decode, encode


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """By language a spaCy model that can be imported, trained here; without the extra a skip, and a failure in CI."""
    if importlib.util.find_spec("presidio_analyzer") is None:
        lacks = "presidio is not installed: `make names` installs the extra `names`, locked"
        if os.environ.get("CI") == "true":
            pytest.fail(lacks)
        pytest.skip(lacks)
    from tests.tiny_names import write_package

    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield {language: write_package(folder, language) for language in ("en", "zh")}


def test_a_model_that_is_not_installed_is_named() -> None:
    with pytest.raises(JobError, match=r"presidio_analyzer|no_such_model"):
        finder({"en": "no_such_model"})


@pytest.mark.parametrize(
    ("text", "language"), [("Hello", "en"), ("你好", "zh"), ("我用 Excel 打不开文件", "zh"), ("", "en")]
)
def test_a_texts_language_is_its_script(text: str, language: str) -> None:
    assert language_of(text) == language


def test_names_are_found_in_every_text_of_a_row_by_its_languages_model(models: dict[str, str]) -> None:
    asked = [{"role": "user", "content": "请问李小安在吗"}, {"role": "user", "content": "Where is my order?"}]
    said = row(asked, correction="Please ask Ann Lee about it.", answer="I spoke with Bob Stone.")
    both = finder(models)
    event = compute(said, both, "support", 7, ("我找林可乐退货",))
    assert names_in(said, event, ("我找林可乐退货",)) == ("Ann Lee", "Bob Stone", "李小安", "林可乐")
    assert names_in(said, compute(said, finder({"zh": models["zh"]}), "support", 7)) == ("李小安",)
    assert both.by.model == "presidio_analyzer, tiny_names_en, tiny_names_zh"
    presidio, en, zh = both.by.version.split(", ")
    assert presidio[0].isdigit() and (en, zh) == ("1.2.3", "1.2.3")


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
