"""`thumbwheel propose --resample` against a real gateway, and a teacher beside it: the command as a process."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway_fixture import CHANNEL, Service, serving, until
from tests.teacher import Reply, completion, teaching
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, ProposalEvent, decode

QUESTION = "退款什么时候到账？我的手机是13812345678"
BETTER = "分类：退款。一般三天内到账，会联系13812345678。"
MASKED = "分类：退款。一般三天内到账，会联系[PHONE_1]。"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose channel wants proposals, with one disliked answer in its store."""
    with serving(tmp_path) as running:
        policies = {"uncorrected": "propose", "scorers": [{"kind": "regex", "pattern": "^分类："}]}
        assert running.manage("PUT", f"/channels/{CHANNEL}", policies).status_code == 200
        answer = running.chat(QUESTION).json()["id"]
        assert running.feedback(answer, thumb="down").status_code == 202
        until(lambda: running.inferences())
        running.ingest()
        with running.home.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            running.home.endpoints.write_text(json.dumps({"api": running.api, "admin": running.admin}))
            (running.home.keys / "app.key").write_text(running.keys["app"])
            yield running


def propose(service: Service, *words: str, **settings: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "thumbwheel", "propose", "--home", str(service.home.root), "--channel", CHANNEL]
    environment = {**os.environ, **{f"THUMBWHEEL_{key.upper()}": value for key, value in settings.items()}}
    done = subprocess.run([*command, "--json", *words], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def recorded(service: Service) -> list[ProposalEvent]:
    with closing(SqliteEventLog(service.home.events)) as log:
        found = [decode(record.value) for record in log.read(CURATION, 0, 0, 100)]
    return [event for event in found if isinstance(event, ProposalEvent)]


def test_a_resample_of_the_stable_release_becomes_a_proposal(service: Service) -> None:
    assert propose(service, "--resample", "2")["unusable"] == {"unfit": 2}, "it says what it said"
    assert recorded(service) == []
    service.faults(text=BETTER)
    assert propose(service, "--resample", "2")["proposed"] == 1
    (event,) = recorded(service)
    assert (event.role, event.model, event.target) == ("verifier", CHANNEL, MASKED)
    assert event.version == service.channel().stable
    asked = until(lambda: len(found := service.inferences()) == 5 and found)
    assert [one.messages is None and not one.trainable for one in asked] == [False, True, True, True, True]


def test_a_teacher_sees_placeholders_and_its_key(service: Service) -> None:
    with teaching() as teacher:
        teacher.replies = [Reply(status=503, headers={"retry-after": "0"}), Reply(completion(MASKED))]
        told = propose(service, teacher=f"{teacher.url}/v1", teacher_key="sk-secret", teacher_model="gpt-x")
    assert (told["thumbs"], told["proposed"], told["failed"]) == (1, 1, {})
    assert [request.authorization for request in teacher.requests] == ["Bearer sk-secret"] * 2
    sent = json.dumps([request.body for request in teacher.requests], ensure_ascii=False)
    assert "13812345678" not in sent and "退款什么时候到账？我的手机是[PHONE_1]" in sent
    (event,) = recorded(service)
    assert (event.role, event.model, event.target) == ("teacher", "gpt-x", MASKED)
