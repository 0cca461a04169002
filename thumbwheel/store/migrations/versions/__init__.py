"""One file a revision, in order; a released one is never changed again.

A new one changes the tables as thumbwheel/store/schema.py has changed and says its number as `schema` in `meta`;
`schema.VERSION` is that number. tests/unit/thumbwheel/test_migrate.py holds the two together.
"""
