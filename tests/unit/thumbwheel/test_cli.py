"""The command as a process: what its exit says where its output is not wanted to the end; and its overview."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from thumbwheel import cli


def test_a_reader_that_has_read_enough_is_no_fault(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does
    command = [sys.executable, "-m", "thumbwheel", "status", "--home", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert done.returncode == 141 and done.stderr == ""


def test_every_verb_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "}
    verbs = {entry.name for entry in entry_points(group=cli.GROUP)}
    assert lines.keys() == verbs == {*cli.TO_USE, *cli.PROCESSES}
    assert all(lines.values())
