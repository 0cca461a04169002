"""Feedback is on the disk before its 202: where the disk cannot sync, there is none. See tests/failing_sync.py."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.failing_sync import CALLS


def test_what_cannot_be_synced_is_not_acknowledged_and_chat_waits_for_no_sync(tmp_path: Path) -> None:
    if sys.platform != "linux" or platform.machine() not in CALLS:
        missing = "system calls are refused here on Linux alone, on x86_64 and aarch64"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    command = [sys.executable, "-m", "tests.failing_sync", str(tmp_path)]
    played = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert played.returncode == 0, played.stderr
    seen = json.loads(played.stdout)
    assert seen["a sync"] == "EIO", "the disk was to fail"
    assert seen["feedback before"] == 202 and seen["durable before"] == "taken"
    assert seen["feedback after"] == [503, 503, 503] and seen["durable after"] == "refused"
    # What nobody was promised goes on without: a power cut may take the last moments of it.
    assert seen["not durable after"] == "taken" and seen["spooled after"] and seen["inferences dropped"] == 0
