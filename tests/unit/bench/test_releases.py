"""What the benchmark counts in the engine's log, and when a release is back."""

from __future__ import annotations

import pytest

from bench.releases import loads, recovered
from tests.unit.bench.test_release_report import WORDS, asked

START = "INFO:     Application startup complete.\n"
FETCHED = "adapter 0123456789ab fetched: load 1 of this engine, rank 32\n"
READ = "Adding lora. Model id: 1, int id: 1\n"


def test_loads_are_counted_since_the_last_start() -> None:
    log = READ + START + FETCHED + READ + READ + START + FETCHED + READ
    assert loads(log) == {"resolver": 1, "vllm": 1}
    with pytest.raises(ValueError, match="no start"):
        loads(FETCHED)


def test_a_release_has_recovered_with_its_first_whole_answer_after_the_kill() -> None:
    late = asked(wait=5.0)
    assert recovered([asked(wait=0.5), late, asked("rel-2", end="error event", wait=6.0)], 11.0, WORDS) == [15.0, None]
