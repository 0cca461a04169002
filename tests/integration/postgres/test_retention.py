"""The suite of tests/unit/thumbwheel/test_retention.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_retention import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
