"""The suite of tests/unit/thumbwheel/test_lineage.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_lineage import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
