"""The suite of tests/unit/thumbwheel/test_data_rows.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_data_rows import *  # noqa: F403 - the tests themselves, with the `stores` of this folder
