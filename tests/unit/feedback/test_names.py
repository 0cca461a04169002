from __future__ import annotations

import importlib.util

import pytest

from feedback.join import Joined
from feedback.names import finder, language_of
from thumbwheel.errors import JobError

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
    rows = [
        Joined(f"fb-{n}", f"inf-{n}", "ann", "user", n, 0, "Done.", "waiting", None, messages, None)
        for n, messages in enumerate((None, asked))
    ]
    found, by = finder({"en": MODEL})(rows)
    assert found == {"fb-1": ("John Smith",)}
    assert by.startswith("presidio_analyzer ") and MODEL in by
