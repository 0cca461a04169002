"""The suite of tests/unit/thumbwheel/test_rollouts.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_rollouts import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
