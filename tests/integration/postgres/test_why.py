"""The suite of tests/unit/thumbwheel/test_why.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_why import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
