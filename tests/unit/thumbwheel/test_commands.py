"""What the commands say when they are used wrongly: a sentence that says what to do, never a traceback."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from deploy.ground import claim
from tests.stores import store_in
from tests.whole_way import write_whole_way
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import main
from thumbwheel.dataset_files import line
from thumbwheel.emergency import EVERY_CHANNEL, emergency_stop, read_emergency
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import Home, prepare
from thumbwheel.records import Run
from thumbwheel.store import release_rows, schema

ADDRESSES = (2, None, "ftp://y", "http://[::1", "127.0.0.1:80", "http://127.0.0.1:99999999")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose service runs and does not answer."""
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    (keys / "admin.key").write_text("tw-admin-x\n")
    nowhere = "http://127.0.0.1:1"
    (tmp_path / "home" / "endpoints.json").write_text(json.dumps({"api": nowhere, "admin": nowhere}))
    with claim(Home(tmp_path / "home")):
        yield tmp_path / "home"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command writes to standard error as it fails."""
    try:
        assert main(list(words)) != 0
    except SystemExit as end:
        assert end.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"train_after": NaN}', b'{"log": "\\ud800"}', b"[" * 100_000])
def test_a_file_without_json(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "policies.json"
    file.write_bytes(raw)
    assert "policies.json holds no JSON" in said(capsys, "channel", "put", "support", str(file), "--home", str(home))


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert "cannot be read" in said(capsys, "channel", "put", "support", missing, "--home", str(home))
    assert "cannot be read" in said(capsys, "channel", "put", "support", str(tmp_path), "--home", str(home))


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_what_is_no_id(capsys: pytest.CaptureFixture[str], home: Path, name: str) -> None:
    for words in (("channel", "show"), ("run", "show"), ("rollout", "pause"), ("rollback",), ("why",), ("lineage",)):
        assert "a name or an id is right" in said(capsys, *words, name, "--home", str(home))


@pytest.mark.parametrize(
    "left",
    ["{", "{}", "[]", '"x"', "[" * 100_000, *(json.dumps({"api": "http://a", "admin": one}) for one in ADDRESSES)],
)
def test_damaged_endpoints(capsys: pytest.CaptureFixture[str], home: Path, left: str) -> None:
    (home / "endpoints.json").write_text(left)
    assert "endpoints.json is damaged" in said(capsys, "channel", "show", "support", "--home", str(home))
    (home / "endpoints.json").unlink()
    assert "does not listen yet" in said(capsys, "channel", "show", "support", "--home", str(home))


@pytest.fixture
def listener(home: Path) -> Iterator[socket.socket]:
    """What listens where the service's administration is said to be."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        address = f"http://127.0.0.1:{made.getsockname()[1]}"
        (home / "endpoints.json").write_text(json.dumps({"api": address, "admin": address}))
        yield made


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "answered 200"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n[]", "answered 500"),
    ],
)
def test_a_service_that_ends_as_it_answers(
    capsys: pytest.CaptureFixture[str], home: Path, listener: socket.socket, answer: bytes, words: str
) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    served = threading.Thread(target=serve)
    served.start()
    assert words in said(capsys, "rollback", "support", "--home", str(home))
    served.join()


def test_the_key_goes_to_no_stranger(capsys: pytest.CaptureFixture[str], home: Path, listener: socket.socket) -> None:
    """A service that was killed leaves its addresses behind; its claim on the home ends with it."""
    (home / "up.lock").unlink()
    assert "no service is running" in said(capsys, "channel", "show", "support", "--home", str(home))
    (home / "up.lock").touch()
    assert "no service is running" in said(capsys, "channel", "show", "support", "--home", str(home))
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_service_that_does_not_answer(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert "does not answer" in said(capsys, "channel", "show", "a?b#c d", "--home", str(home))
    (home / "keys" / "admin.key").write_bytes(b"\xff")
    assert "key cannot be read" in said(capsys, "channel", "show", "support", "--home", str(home))
    (home / "keys" / "admin.key").unlink()
    assert "key cannot be read" in said(capsys, "channel", "show", "support", "--home", str(home))


def test_a_home_without_a_store(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    for verb in ("why", "lineage"):
        assert "has no store" in said(capsys, verb, "run-1", "--home", str(home))


def test_a_damaged_home(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    (home / "store.db").write_text("this is no database, but a text of some length")
    for words in (("status",), ("why", "run-1")):
        assert "`thumbwheel doctor`" in said(capsys, *words, "--home", str(home))
    (home / "store.db").unlink()
    assert main(["keys", "create", "--tenant", "t", "--home", str(home)]) == 0
    (home / "emergency.json").write_text("{")
    assert main(["status", "--home", str(home)]) == 0
    assert "STOPPED  every channel answers by its stable release alone" in capsys.readouterr().out
    emergency_stop(Home(home), "support", "someone", 1, "abort", None)
    assert list(read_emergency(Home(home))) == [EVERY_CHANNEL, "support"], "the lever works all the same"


def test_a_home_that_cannot_be_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words in (("keys", "create", "--tenant", "t"), ("up",)):
        assert "home holds" in said(capsys, *words, "--home", str(tmp_path / "file" / "home"))


@pytest.mark.parametrize("tenant", ["", " ", "a\nb", "x" * 129])
def test_a_tenant_without_a_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, tenant: str) -> None:
    assert "--tenant" in said(capsys, "keys", "create", "--tenant", tenant, "--home", str(tmp_path / "home"))


def test_all_files_of_a_home_are_private(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    store, log = store_in(home.root), SqliteEventLog(home.events)
    assert main(["keys", "create", "--tenant", "t", "--home", str(home.root)]) == 0
    key = capsys.readouterr().out.strip()
    found = [home.root, *home.root.rglob("*")]
    assert {"store.db-wal", "events.db-wal"} < {path.name for path in found}, "as while the service runs"
    for path in found:
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.is_dir() or key.encode() not in path.read_bytes(), "only its hash is kept"
    log.close()
    store.close()


def test_a_runs_report_is_shown_while_no_service_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    home, report = prepare(tmp_path / "home"), tmp_path / "report"
    report.mkdir()
    (report / "report.json").write_text('{"verdict": "pass"}')
    (report / "report.md").write_text("**Pass.**\n")
    sha = ArtifactStore(home.artifacts).publish(report, "report", {})
    with closing(store_in(home.root)) as store, store.write() as tx:
        for run, held in (("run-1", sha), ("run-2", None)):
            release_rows.insert_run(
                tx, Run(run, "support", "candidate", {}, None, None, held, (), {}, "ann", 1, 0, 0, 1)
            )
    assert main(["run", "report", "run-1", "--home", str(home.root)]) == 0
    assert capsys.readouterr().out == "**Pass.**\n"
    assert main(["run", "report", "run-1", "--json", "--home", str(home.root)]) == 0
    assert json.loads(capsys.readouterr().out) == {"verdict": "pass"}
    assert "has no report" in said(capsys, "run", "report", "run-2", "--home", str(home.root))
    assert "run-3" in said(capsys, "run", "report", "run-3", "--home", str(home.root))


def test_what_people_wrote_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An application names its users itself, and a reason may quote an engine."""
    home, report = prepare(tmp_path / "home"), tmp_path / "report"
    name, shown = "eve\x1b[2J\u202e\x9b", "eve\\u001b[2J\\u202e\\u009b"
    report.mkdir()
    (report / "report.md").write_text(name)
    (report / "report.json").write_text(json.dumps({"who": name}))
    sha = ArtifactStore(home.artifacts).publish(report, "report", {})
    with closing(store_in(home.root)) as store:
        write_whole_way(store)
        with store.write() as tx:
            tx.execute(update(schema.feedback).where(schema.feedback.c.id == "fb-1").values(author=f"{name}\n"))
            run = release_rows.get_run(tx, "run-1")
            release_rows.save_run(tx, replace(run, reasons=(name,), report=sha))
    asked = [("status",), ("why", "fb-1"), ("lineage", "fb-1"), ("run", "report", "run-1")]
    for words in (*asked, *((*words, "--json") for words in asked)):
        assert main([*words, "--home", str(home.root)]) == 0
        told = capsys.readouterr().out
        assert shown in told and told.replace("\n", "").isprintable()
        if words == ("why", "fb-1"):
            assert f"{shown}\\n" in told, "nor does a name begin a line of its own"


def test_why_names_the_other_feedback_that_a_reason_is_about(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home, frozen = prepare(tmp_path / "home"), tmp_path / "frozen"
    frozen.mkdir()
    (frozen / "reasons.jsonl").write_bytes(line({"feedback": "fb-2", "state": "refused", "beside": ["fb-3", "fb-9"]}))
    sha = ArtifactStore(home.artifacts).publish(frozen, "dataset", {})
    with closing(store_in(home.root)) as store:
        write_whole_way(store, dataset=sha)
    assert main(["why", "fb-2", "--home", str(home.root)]) == 0
    assert "What stands instead: fb-3 (no_correction)." in capsys.readouterr().out, "of fb-9 nothing is known"
    shutil.rmtree(home.artifacts / sha)
    assert main(["why", "fb-2", "--home", str(home.root)]) == 0
    assert "fb-3 (no" not in capsys.readouterr().out, "a dataset whose files are gone"
