"""Adapters from elsewhere are held against the base that the service runs, from whatever directory they are brought."""

from pathlib import Path

import pytest

from tests.stores import store_in
from tests.tiny_model import make_tiny_model
from thumbwheel import base
from thumbwheel.errors import AdapterRefused, ArtifactError
from thumbwheel.home import prepare
from thumbwheel.releases import import_adapter
from thumbwheel.settings import Settings


def test_an_import_knows_the_services_base(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    (tmp_path / "adapter").mkdir()
    elsewhere = Settings(home=home.root, model=str(tmp_path / "not here"))
    with pytest.raises(ArtifactError, match="the base has no"):  # no service has run here yet
        import_adapter(elsewhere, home, tmp_path / "adapter", "support")
    store = store_in(home.root)
    base.settle(store, Settings(home=home.root, model=str(make_tiny_model(tmp_path / "one"))))
    store.close()
    with pytest.raises(AdapterRefused):
        import_adapter(elsewhere, home, tmp_path / "adapter", "support")


def test_an_upstream_takes_no_adapter(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    (tmp_path / "adapter").mkdir()
    settings = Settings(home=home.root, upstream="http://127.0.0.1:1")
    store = store_in(home.root)
    base.settle(store, settings)
    store.close()
    with pytest.raises(AdapterRefused, match="serves an upstream"):
        import_adapter(Settings(home=home.root), home, tmp_path / "adapter", "support")
