"""Who says something of an answer: the roles of authors, and which of them a key gives.

    expert      a person whose word settles a contradiction and counts as reviewed: the right `expert` of a key
    user        any other person
    teacher     a model's proposal that a person approved: the right `teacher` of a key
    verifier    a resample that passed the channel's checks

It knows nothing of what a channel asks of them (feedback/trust.py).
"""

from __future__ import annotations

from collections.abc import Collection

EXPERT, USER, TEACHER, VERIFIER = "expert", "user", "teacher", "verifier"
PERSONS = frozenset({EXPERT, USER})


def role_of(rights: Collection[str]) -> str:
    """The role that a key's rights give to what is said by it."""
    return next((role for role in (EXPERT, TEACHER) if role in rights), USER)
