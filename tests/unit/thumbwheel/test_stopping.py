import subprocess
import sys
import textwrap
import threading
import time

import pytest

from thumbwheel.stopping import Stop

# A signal on every line that a wait passes through: wherever its lock is held, the handler comes then, too.
SIGNALLED = """
import signal, sys, threading
from thumbwheel.stopping import Stop
stop = None
signal.signal(signal.SIGUSR1, lambda *_: stop.set())
for line in range(1, 40):
    stop = {kind}()
    seen = 0
    def at(frame, event, argument):
        global seen
        if event == "line":
            seen += 1
            if seen == line:
                signal.raise_signal(signal.SIGUSR1)
        return at
    sys.settrace(at)
    stop.wait(0.02)
    sys.settrace(None)
    assert seen < line or stop.is_set(), line
"""


def waits_through(kind: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(SIGNALLED).replace("{kind}", kind)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout_s)


def test_a_handler_may_say_stop_at_any_point_of_a_wait() -> None:
    done = waits_through("Stop", 20)
    assert done.returncode == 0, done.stderr


def test_an_event_is_no_place_for_that() -> None:
    """The reason for `Stop`; where this fails, Python has mended it."""
    with pytest.raises(subprocess.TimeoutExpired):
        waits_through("threading.Event", 2)


def test_it_waits_wakes_and_stays() -> None:
    stop = Stop()
    began = time.monotonic()
    assert not stop.wait(0.05) and not stop.is_set()
    assert time.monotonic() - began >= 0.05
    threading.Timer(0.05, stop.set).start()
    assert stop.wait(10) and stop.wait(10) and stop.wait() and stop.is_set()
