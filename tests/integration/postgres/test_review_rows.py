"""The suite of tests/unit/thumbwheel/test_review_rows.py, on PostgreSQL."""

from tests.unit.thumbwheel.test_review_rows import *  # noqa: F403 - the tests themselves, with this folder's `stores`
