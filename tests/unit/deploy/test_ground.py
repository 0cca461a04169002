"""What lies ready before the first process: the claim on the home, the model, the keys, a short path."""

import fcntl
import os
import stat
import subprocess
import sys
import threading

import pytest

from deploy.ground import claim, find_model, make_keys, short_folder, socket_path
from tests.stores import store_in
from thumbwheel.errors import AlreadyUp, SettingsError
from thumbwheel.home import prepare, supervisor_pid
from thumbwheel.keys import KEY_PREFIX, hash_key
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows


@pytest.fixture
def home(tmp_path):
    return prepare(tmp_path / "home")


def test_a_home_has_one_supervisor_and_the_claim_goes_with_it(home):
    with claim(home):
        with pytest.raises(AlreadyUp, match=str(os.getpid())), claim(home):
            pass
        assert home.lock.read_text() == f"{os.getpid()}\n"
    with claim(home):
        pass


def test_a_look_at_the_claim_is_no_claim(home):
    home.lock.touch()
    looking = os.open(home.lock, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.02, os.close, [looking]).start()
    with claim(home):
        assert supervisor_pid(home) == os.getpid()
    assert supervisor_pid(home) is None


def test_a_killed_supervisors_claim_is_gone(home):
    code = (
        "import os; from pathlib import Path; from deploy.ground import claim; from thumbwheel.home import Home\n"
        f"with claim(Home(Path({str(home.root)!r}))): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with claim(home):
        assert home.lock.read_text() == f"{os.getpid()}\n"


def test_a_model_is_a_directory_with_a_checkpoint(tmp_path):
    settings = Settings(home=tmp_path, model=str(tmp_path / "model"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(SettingsError) as caught:
        find_model(settings)
    assert caught.value.problems[0][0] == "model" and "safetensors" in caught.value.problems[0][2]
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    assert find_model(settings) == tmp_path / "model"


@pytest.mark.parametrize("name", ["nobody/such-a-model", "not there", "a/b/c/d"])
def test_a_model_that_is_nowhere_is_told_with_what_to_do(tmp_path, name):
    with pytest.raises(SettingsError) as caught:
        find_model(Settings(home=tmp_path, model=name))
    key, held, right = caught.value.problems[0]
    assert (key, held) == ("model", f"holds {name!r}") and "make setup" in right


def test_keys_are_made_once_and_only_their_hashes_are_stored(home):
    store = store_in(home.root)
    make_keys(home, store, 1)
    texts = {kind: (home.keys / f"{kind}.key").read_text().strip() for kind in ("app", "admin")}
    make_keys(home, store, 2)
    with store.read() as tx:
        held = {key.kind: key for key in fleet_rows.all_keys(tx)}
    assert {kind: key.hash for kind, key in held.items()} == {kind: hash_key(text) for kind, text in texts.items()}
    assert held["app"].tenant == "default" and held["app"].rights == frozenset()
    assert held["admin"].rights == {"raw", "arbiter"}
    for kind, text in texts.items():
        assert text.startswith(KEY_PREFIX[kind]) and (home.keys / f"{kind}.key").read_text().strip() == text
        assert stat.S_IMODE((home.keys / f"{kind}.key").stat().st_mode) == 0o600
    store.close()


def test_a_store_that_was_lost_learns_the_keys_again(home):
    store = store_in(home.root)
    make_keys(home, store, 1)
    store.close()
    for file in home.root.glob("store.db*"):
        file.unlink()
    store = store_in(home.root)
    make_keys(home, store, 2)
    with store.read() as tx:
        assert len(fleet_rows.all_keys(tx)) == 2
    store.close()


def test_sockets_lie_in_the_home_unless_it_lies_too_deep(tmp_path):
    near = prepare(tmp_path / "h")
    assert socket_path(near, "engine-0", {}) == near.engines / "engine-0" / "engine.sock"
    deep = prepare(tmp_path / ("d" * 100))
    runtime = tmp_path / "run"
    runtime.mkdir()
    path = socket_path(deep, "engine-0", {"XDG_RUNTIME_DIR": str(runtime)})
    assert path.parent.parent == runtime and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path == socket_path(deep, "engine-0", {"XDG_RUNTIME_DIR": str(runtime)})


def test_a_short_folder_that_somebody_else_laid_out_is_refused(tmp_path, home):
    folder = short_folder(home, {"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.rmdir()
    folder.symlink_to(home.root)
    with pytest.raises(SettingsError):
        short_folder(home, {"XDG_RUNTIME_DIR": str(tmp_path)})
