"""What a terminal is shown of other people's text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.printable import printable, printable_lines


@given(st.text(alphabet=st.characters(codec=None)))
def test_nothing_that_is_printed_moves_or_breaks_the_line(text: str) -> None:
    shown = printable(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    shown.encode()  # no lone surrogates


@given(
    st.dictionaries(st.text(), st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from("\x1b\x9b\n"))))
)
def test_json_stays_the_json_that_it_was(value: dict[str, str]) -> None:
    for indent in (None, 2):
        assert json.loads(printable_lines(json.dumps(value, ensure_ascii=False, indent=indent))) == value


def test_what_is_read_stays() -> None:
    for text in ("", "退货免费。 café", "می\u200cخواهم", "👩\u200d👧"):
        assert printable(text) == text
    assert printable("a\nb\x1b[2J\x9b\u202e\u2028\U000e0001") == "a\\nb\\u001b[2J\\u009b\\u202e\\u2028\\udb40\\udc01"
    assert printable_lines("a\n\tb\n") == "a\n\\tb\n"
