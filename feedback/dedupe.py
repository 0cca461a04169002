"""Which of several corrections of one conversation stays: a pure function.

Two conversations are the same, and two targets, when they are after `clean.compared`. Within one conversation an
author's last word counts; if two authors then want different answers, neither is taken; of equal ones the first is.
It finds equal texts only: near duplicates are not looked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feedback.clean import compared
from feedback.join import Joined, Turn
from thumbwheel.ids import digest32
from thumbwheel.ledger import CONTRADICTION, DUPLICATE, SUPERSEDED

KEY_CHARS = 26


@dataclass(frozen=True)
class Proposal:
    """A correction that could be taught: its feedback, the conversation up to the user's last turn, and the target."""

    source: Joined
    turns: tuple[Turn, ...]
    target: str

    @property
    def author(self) -> str:
        """Whose correction it is; feedback that has been joined has an author."""
        return self.source.author or self.source.inference


def conversation_key(turns: Sequence[Turn]) -> str:
    """The same for conversations that compare equal."""
    return digest32(
        _packed("conversation", *[part for role, text in turns for part in (role, compared(text))]), KEY_CHARS
    )


def target_key(target: str) -> str:
    """The same for targets that compare equal."""
    return digest32(_packed("target", compared(target)), KEY_CHARS)


def group_key(user_turn: str) -> str:
    """The group of an example: the same for last user turns that compare equal."""
    return digest32(_packed("group", compared(user_turn)), KEY_CHARS)


def _packed(*parts: str) -> bytes:
    return json.dumps(parts, ensure_ascii=True).encode()


def resolve(proposals: Iterable[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """The proposals that stay, by time of receipt, and the reason by feedback for each that does not."""
    conversations: dict[str, list[Proposal]] = {}
    for proposal in sorted(proposals, key=lambda proposal: proposal.source.receipt):
        conversations.setdefault(conversation_key(proposal.turns), []).append(proposal)
    kept: list[Proposal] = []
    refused: dict[str, str] = {}
    for rivals in conversations.values():
        last_word = {proposal.author: target_key(proposal.target) for proposal in rivals}
        standing = []
        for proposal in rivals:
            if target_key(proposal.target) == last_word[proposal.author]:
                standing.append(proposal)
            else:
                refused[proposal.source.feedback] = SUPERSEDED
        agreed = len(set(last_word.values())) == 1
        if agreed:
            kept.append(standing.pop(0))
        for proposal in standing:
            refused[proposal.source.feedback] = DUPLICATE if agreed else CONTRADICTION
    return sorted(kept, key=lambda proposal: proposal.source.receipt), refused
