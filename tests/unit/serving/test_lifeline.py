"""An engine's processes end with the first of them, even where it is killed."""

from __future__ import annotations

from tests.killed_parent import takes_its_child_along

SPAWNED = """
import multiprocessing, time
from serving.lifeline import register

def live(ready):
    register()
    ready.set()
    time.sleep(60)

if __name__ == "__main__":
    register()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=live, args=(ready,))
    child.start()
    ready.wait()
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_the_plug_in_ties_an_engines_child_processes() -> None:
    assert takes_its_child_along(SPAWNED)
