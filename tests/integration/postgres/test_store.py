"""The suite of tests/unit/thumbwheel/test_store.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_store import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
