from __future__ import annotations

from pathlib import Path

from serving.spool import Spool
from tests.unit.thumbwheel.test_data_rows import inference
from thumbwheel import events
from thumbwheel.erasing.lines import forget_in_spool
from thumbwheel.erasure import Erased, person_of, tombstone
from thumbwheel.store.erasure_rows import Theirs

SECRET = b"s" * 32
HER = person_of(SECRET, "shop", "u1")
ERASED = Erased(SECRET, frozenset({HER}), frozenset({"shop"}))
NOTHING = Theirs({}, {})


def drained(spool: Spool) -> list[bytes]:
    found = []
    while batch := spool.batch(10):
        found += batch
        spool.drained(batch)
    return found


def test_a_living_workers_spool_goes_on_with_what_is_left(tmp_path: Path) -> None:
    said = [inference(f"inf-{n}", tenant="shop", unit=f"u{n}", answer="plum " * 20) for n in (1, 2)]
    spool = Spool(tmp_path, 1 << 20)
    assert all(spool.add([events.encode(one) for one in said]))
    size = spool.size
    assert forget_in_spool(tmp_path, ERASED, NOTHING) == 1
    assert forget_in_spool(tmp_path, ERASED, NOTHING) == 0
    assert all(spool.add([events.encode(said[1])])) and spool.size > size
    mine, *others = map(events.decode, drained(spool))
    assert isinstance(mine, events.InferenceEvent)
    assert (mine.unit, mine.answer, mine.id) == (tombstone(HER), None, "inf-1")
    assert others == [said[1], said[1]]


def test_a_line_that_would_grow_is_blank_and_the_next_is_whole(tmp_path: Path) -> None:
    short = events.encode(inference("inf-1", tenant="shop", unit="u1", messages=None, answer=None))
    other = events.encode(inference("inf-2", tenant="shop", unit="u2"))
    spool = Spool(tmp_path, 1 << 20)
    spool.add([short, other])
    assert forget_in_spool(tmp_path, ERASED, NOTHING) == 1
    assert drained(spool) == [b" " * len(short), other]


def test_half_a_line_and_one_that_is_no_event_stay(tmp_path: Path) -> None:
    whole = b'{"broken": true}\n\xff\n' + events.encode(inference("inf-1", tenant="shop", unit="u1"))
    (tmp_path / "1-1.jsonl").write_bytes(whole)
    assert forget_in_spool(tmp_path, ERASED, NOTHING) == 0
    assert (tmp_path / "1-1.jsonl").read_bytes() == whole
