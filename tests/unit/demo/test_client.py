"""The client against a service that answers well, and badly in each way it may."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from demo.client import Client, NotThere, find

FAKE = (sys.executable, str(Path(__file__).parent / "fake_service.py"))
TURN = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    child = subprocess.Popen([*FAKE, "up", "--home", str(home)])
    while not (home / "endpoints.json").exists():
        assert child.poll() is None
        time.sleep(0.05)
    yield home
    child.terminate()
    assert child.wait(timeout=30) == 0


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    client = await Client(find(home)).open()
    yield client
    await client.close()


def test_nobody_home_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="no service runs"):
        find(tmp_path)


async def test_a_whole_answer_streamed_or_not(client: Client) -> None:
    await client.demand("PUT", "/channels/support", {"stages": []})
    plain = await client.ask("support", TURN, "u1", 8)
    streamed = await client.ask("support", TURN, "u1", 8, stream=True)
    assert plain.error is streamed.error is None
    assert plain.text == streamed.text != ""
    assert plain.variant == "stable" and plain.release and plain.inference and plain.token
    assert (client.tally.asked, client.tally.failed) == (2, 0)


@pytest.mark.parametrize(
    ("model", "stream", "said"),
    [
        ("broken-stream", True, r"without \[DONE\]"),
        ("error-stream", True, "in the stream: The engine went away."),
        ("away", False, "503: Try again."),
        ("garbled", False, "not an answer in OpenAI's shape"),
    ],
)
async def test_each_kind_of_failure_is_counted_and_said(client: Client, model: str, stream: bool, said: str) -> None:
    answer = await client.ask(model, TURN, "u1", 8, stream)
    assert answer.error is not None and re.search(said, answer.error)
    assert (client.tally.asked, client.tally.failed, client.tally.errors) == (1, 1, [answer.error])


async def test_feedback_is_acknowledged_once_and_a_forged_token_never(client: Client) -> None:
    await client.demand("PUT", "/channels/support", {"stages": []})
    answer = await client.ask("support", TURN, "u1", 8)
    body = {"inference_id": answer.inference, "thumb": "down"}
    first, again = await client.feedback(body, answer.token), await client.feedback(body)
    assert first.id is not None and first.id == again.id
    forged = await client.feedback(body, "fbt-made-up")
    assert (forged.status, forged.id) == (401, None)
    assert forged.message == "This is no feedback token."
