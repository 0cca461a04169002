"""The command as a process: what its exit says where its output is not wanted to the end; and its overview."""

import argparse
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


def test_a_word_that_is_no_text_is_refused_and_no_traceback(tmp_path: Path) -> None:
    for words in (
        "dataset list --channel",
        "dataset show",
        "exclude --feedback x --reason y --channel",
        "no-such-verb",
    ):
        command = [sys.executable, "-m", "thumbwheel", *words.split(), b"\xff\xfe"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 2 and "is no text in UTF-8" in done.stderr and "Traceback" not in done.stderr


def test_a_text_is_one_line_that_says_something_and_is_not_too_long() -> None:
    take = cli.a_text(4)
    assert take("退货 1") == "退货 1"
    for wrong in ("", "  ", "a\nb", "\x1b[0m", "12345"):
        with pytest.raises(argparse.ArgumentTypeError, match="at most 4 characters"):
            take(wrong)


def test_a_number_is_whole_and_from_one() -> None:
    take = cli.a_number(10)
    assert [take("1"), take("10")] == [1, 10]
    for wrong in ("", "0", "11", "-1", "1.0", "一", "²", "٣"):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 10"):
            take(wrong)
