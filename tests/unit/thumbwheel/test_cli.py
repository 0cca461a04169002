"""The command as a process: what its exit says where its output is not wanted to the end."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_reader_that_has_read_enough_is_no_fault(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does
    command = [sys.executable, "-m", "thumbwheel", "status", "--home", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert done.returncode == 141 and done.stderr == ""
