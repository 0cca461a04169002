"""The suite of tests/unit/thumbwheel/test_dataset_rows.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_dataset_rows import *  # noqa: F403 - the tests themselves, with this folder's `stores`
