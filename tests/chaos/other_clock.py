"""A process of the service whose machine's clock is wrong: its verb, `SECONDS` ahead (or behind, below 0).

python -m tests.chaos.other_clock SECONDS VERB [ARGUMENT ..]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from thumbwheel.cli import main


def shifted(clock: Callable[[], int], seconds: int) -> Callable[[], int]:
    return lambda: clock() + seconds * 1_000_000_000


if __name__ == "__main__":
    time.time_ns = shifted(time.time_ns, int(sys.argv[1]))
    nanoseconds = time.time_ns
    time.time = lambda: nanoseconds() / 1e9
    sys.exit(main(sys.argv[2:]))
