"""The command `thumbwheel review`: what it asks of the admin API, and what a person reads."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.ground import claim
from thumbwheel.cli import main
from thumbwheel.home import Home

CASE = {
    "feedback": "fb-1",
    "state": "waiting",
    "reason": "disagreement",
    "received_ms": 1_000,
    "role": "user",
    "messages": [{"role": "user", "content": "It faded.\x1b[2J", "holds_also": ["image_url"]}],
    "answer": "Oh.",
    "comment": None,
    "correction": "Free.",
    "proposals": [{"id": "pr-1", "model": "m", "target": "Send it back."}],
    "disagreement": [{"verdict": "edit", "target": "No.", "reason": None}],
}


@dataclass
class Api:
    """An admin API that notes what it is asked and always says the same."""

    home: Path
    asked: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)
    answer: Any = None

    def run(self, *words: str) -> int:
        return main(["review", *words, "--home", str(self.home)])


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path / "home", answer={"waiting": 3, "needed": 2, "reviews": [CASE]})

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            split = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append((self.command, split.path, parse_qs(split.query), json.loads(raw) if raw else None))
            body = json.dumps(made.answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        (made.home / "keys").mkdir(parents=True)
        (made.home / "keys" / "admin.key").write_text("tw-admin-x\n")
        address = f"http://127.0.0.1:{server.server_port}"
        (made.home / "endpoints.json").write_text(json.dumps({"api": address, "admin": address}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with claim(Home(made.home)):
            yield made
        server.shutdown()


PATH = "/admin/v1/channels/support/reviews"


@pytest.mark.parametrize(
    ("words", "path", "params"),
    [
        (["list", "support"], PATH, {"limit": ["20"]}),
        (
            ["list", "support", "--state", "contradiction", "--state", "proposed", "--reviewer", "ann", "--unmasked"],
            PATH,
            {"limit": ["20"], "state": ["contradiction", "proposed"], "reviewer": ["ann"], "unmasked": ["true"]},
        ),
        (["sample", "support", "--limit", "5", "--seed", "monday"], PATH, {"sample": ["5"], "seed": ["monday"]}),
        (["show", "support", "fb-1"], PATH, {"feedback": ["fb-1"]}),
        (["agreement", "support"], f"{PATH}/agreement", {}),
    ],
)
def test_what_is_asked(api: Api, words: list[str], path: str, params: dict[str, list[str]]) -> None:
    assert api.run(*words) == 0
    assert api.asked == [("GET", path, params, None)]


def test_what_is_said(api: Api, tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("Send it back.\nFree of charge.\n")
    assert api.run("approve", "support", "fb-1", "--accuracy", "5", "--reviewer", "ann", "--proposal", "pr-1") == 0
    assert api.run("edit", "support", "fb-1", str(tmp_path / "answer.txt"), "--arbiter") == 0
    assert api.run("refuse", "support", "fb-1", "--reason", "untrue") == 0
    known = {"feedback": "fb-1"}
    assert [body for _, _, _, body in api.asked] == [
        {**known, "verdict": "approve", "scores": {"accuracy": 5}, "reviewer": "ann", "proposal": "pr-1"},
        {**known, "verdict": "edit", "target": "Send it back.\nFree of charge.", "role": "arbiter"},
        {**known, "verdict": "refuse", "reason": "untrue"},
    ]
    assert {(method, path) for method, path, _, _ in api.asked} == {("POST", PATH)}


def test_what_a_person_reads(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert api.run("list", "support") == 0
    assert capsys.readouterr().out.splitlines() == [
        "fb-1: waiting (disagreement), by a user, received 1970-01-01 00:00:01 UTC",
        r"  user: It faded.\u001b[2J [image_url]",
        "  ANSWER: Oh.",
        "  CORRECTION: Free.",
        "  PROPOSAL pr-1 of m: Send it back.",
        "  SAID edit: No.",
        "",
        "1 of 3 that wait; 2 must say the same of each.",
    ]
    assert api.run("show", "support", "fb-1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == api.answer


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["approve", "support"], "the id of a feedback"),
        (["list", "support", "fb-1"], "list takes a channel"),
        (["refuse", "support", "fb-1"], "--reason"),
        (["approve", "support", "fb-1", "answer.txt"], "takes no file"),
        (["approve", "support", "a\nb"], "a name or an id is right"),
        (["edit", "support", "fb-1", "nowhere.txt"], "cannot be read"),
    ],
)
def test_what_is_wrong(api: Api, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    try:
        assert api.run(*words) != 0
    except SystemExit as end:
        assert end.code == 2
    assert told in capsys.readouterr().err
    assert api.asked == []
