"""A data directory's base: settled once, and nothing else is served under its releases."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.stores import store_in
from tests.tiny_model import make_tiny_model
from thumbwheel import base
from thumbwheel.errors import SettingsError
from thumbwheel.home import prepare
from thumbwheel.settings import Settings
from thumbwheel.store.connection import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(prepare(tmp_path / "home").root)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", model=str(make_tiny_model(tmp_path / "one")))


def test_the_same_base_starts_again_from_wherever_it_lies(store: Store, settings: Settings, tmp_path: Path) -> None:
    assert base.settled(store) is None
    base.settle(store, settings)
    moved = (tmp_path / "one").rename(tmp_path / "elsewhere")
    base.settle(store, replace(settings, model=str(moved)))
    found = base.settled(store)
    assert found is not None and found.directory == str(moved) and found.name == "elsewhere"


@pytest.mark.parametrize("change", ["model", "upstream"])
def test_another_base_is_refused_with_what_to_do(store: Store, settings: Settings, tmp_path: Path, change: str) -> None:
    base.settle(store, settings)
    if change == "model":
        other = replace(settings, model=str(make_tiny_model(tmp_path / "two", seed=1)))
    else:
        other = replace(settings, upstream="http://127.0.0.1:1")
    with pytest.raises(SettingsError) as refused:
        base.settle(store, other)
    ((key, held, right),) = refused.value.problems
    assert key == change and (other.upstream or "two") in held
    assert str(tmp_path / "one") in right and "another --home" in right
    found = base.settled(store)
    assert found is not None and found.name == "one"


def test_an_upstream_may_move_and_is_no_checkpoint(store: Store, settings: Settings) -> None:
    base.settle(store, replace(settings, upstream="http://127.0.0.1:1"))
    base.settle(store, replace(settings, upstream="http://127.0.0.1:2"))
    with pytest.raises(SettingsError, match="--upstream"):
        base.settle(store, settings)


def test_a_checkpoint_that_cannot_be_read_is_named(store: Store, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "one" / "config.json").write_text("{")
    with pytest.raises(SettingsError, match="model: holds"):
        base.settle(store, settings)
    assert base.settled(store) is None
