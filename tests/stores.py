"""Stores for tests: SQLite in a folder. tests/integration/postgres/ has them on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from thumbwheel.home import Home
from thumbwheel.settings import Settings
from thumbwheel.store.connection import BUSY_MS, Store, open_store


def store_in(root: Path, *, busy_ms: int = BUSY_MS) -> Store:
    """The store of the home `root`, `<root>/store.db`, made with its tables where it is not there."""
    return open_store(Settings(home=root), Home(root), busy_ms=busy_ms)
