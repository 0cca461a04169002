from __future__ import annotations

import msgspec
import pytest

from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel.erasure import Erased, erased_by, is_tombstone, person_of, scrubbed, tombstone, without_names
from thumbwheel.events import (
    ComputedEvent,
    CurationEvent,
    ErasureEvent,
    ExclusionEvent,
    ProposalEvent,
    ReviewEvent,
)

SECRET = b"s" * 32
HER = person_of(SECRET, "shop", "u1")
ERASED = erased_by([ErasureEvent("erasure-1", 1, "ann", "shop", HER)], SECRET)


def test_a_person_is_a_tenants_end_user_under_this_homes_secret() -> None:
    others = {person_of(SECRET, "shop", "u2"), person_of(SECRET, "bank", "u1"), person_of(b"x" * 32, "shop", "u1")}
    assert HER not in others and len(others) == 3
    assert person_of(SECRET, "shop\0u", "1") != person_of(SECRET, "shop", "u\0" + "1")
    assert "u1" not in tombstone(HER) and is_tombstone(tombstone(HER))


@pytest.mark.parametrize("name", [None, "", "erased-", "u1", "erased-" + "0" * 25, "erased-" + "0" * 26 + "\n"])
def test_other_names_are_no_tombstones(name: str | None) -> None:
    assert not is_tombstone(name)


def test_a_name_and_its_tombstone_are_held_and_nobody_elses() -> None:
    assert ERASED.holds("shop", "u1") and ERASED.holds("shop", tombstone(HER))
    assert not ERASED.holds("bank", "u1") and not ERASED.holds("shop", "u2") and not ERASED.holds("shop", None)
    assert not ERASED.holds("shop", tombstone(person_of(SECRET, "shop", "u2")))
    assert not Erased(SECRET).holds("shop", "u1") and not Erased(SECRET)


def test_the_secret_is_shown_nowhere() -> None:
    assert "ssss" not in repr(ERASED)


def test_an_inference_keeps_its_figures_and_loses_its_texts() -> None:
    said = inference("inf-1", tenant="shop", unit="u1", messages=[{"role": "user"}], answer="Hi.", error="Hm.")
    bare = scrubbed(said, ERASED)
    assert bare == msgspec.structs.replace(said, unit=tombstone(HER), messages=None, answer=None, error=None)
    assert scrubbed(bare, ERASED) == bare
    other = msgspec.structs.replace(said, unit="u2")
    assert scrubbed(other, ERASED) is other


def test_feedback_is_theirs_by_author_by_inference_or_by_id() -> None:
    said = feedback("fb-1", "inf-1", tenant="shop", comment="c", correction="d", tags=["t"], metrics={"m": 1.0})
    assert scrubbed(said, ERASED) is said
    bare = msgspec.structs.replace(said, comment=None, correction=None, tags=[], metrics={})
    assert scrubbed(said, ERASED, inferences={"inf-1"}) == bare == scrubbed(said, ERASED, feedback={"fb-1"})
    hers = msgspec.structs.replace(said, author="u1")
    assert scrubbed(hers, ERASED) == msgspec.structs.replace(bare, author=tombstone(HER))


@pytest.mark.parametrize(
    "event",
    [
        ReviewEvent("c-1", "fb-1", "support", 1, "ann", "edit", target="plum", reason="plum"),
        ProposalEvent("c-1", "fb-1", "support", 1, "plum", "teacher", "m", "1"),
        ComputedEvent("c-1", "fb-1", "support", 1, "names", "m", "1", ["plum"]),
    ],
)
def test_what_was_made_of_their_feedback_loses_its_texts(event: CurationEvent) -> None:
    assert scrubbed(event, ERASED) is event
    bare = scrubbed(event, ERASED, feedback={"fb-1"})
    assert b"plum" not in msgspec.json.encode(bare)
    assert msgspec.json.decode(msgspec.json.encode(bare), type=type(event)) == bare


def test_an_exclusion_of_an_author_goes_on_under_the_tombstone() -> None:
    said = ExclusionEvent("e-1", 1, "ann", "author", "u1", "support", "because")
    assert scrubbed(said, ERASED) == msgspec.structs.replace(said, value=tombstone(HER))
    other = msgspec.structs.replace(said, value="u2")
    assert scrubbed(other, ERASED) == other


def test_names_go_out_of_any_json() -> None:
    value = {"a": ["u1", {"b": "u1"}], "c": "u11", "d": 1, "e": None}
    assert without_names(value, ERASED) == {
        "a": [tombstone(HER), {"b": tombstone(HER)}],
        "c": "u11",
        "d": 1,
        "e": None,
    }
