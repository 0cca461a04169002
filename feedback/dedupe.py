"""Which of several corrections that say the same stays: a pure function.

Two conversations are the same, and two targets, when they are after `clean.compared`; a system prompt may hold other
numbers, such as today's date. Within one conversation an author's last word counts, and the latest expert's before
all others; if two authors then want different answers, neither is taken (a contradiction). Of those that are left, rows
with the same turns and target are one, whatever their system prompts, and so are near ones (near.py). The first
received stays, and says for whom it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from feedback.clean import compared
from feedback.join import Joined, Turn
from feedback.near import first_near, said
from thumbwheel.ids import digest32
from thumbwheel.ledger import CONTRADICTION, DUPLICATE, NEAR_DUPLICATE, SUPERSEDED
from thumbwheel.roles import EXPERT

KEY_CHARS = 26

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Proposal:
    """A correction that could be taught: its feedback, the conversation up to the user's last turn, and the target.

    `rejected` is the answer that it corrects. `redacted` counts the values that were taken out of the conversation, by
    kind. `merged` is the other feedback that it stands for, `voices` the authors and roles of all of it; both are
    known once duplicates are gone.
    """

    source: Joined
    turns: tuple[Turn, ...]
    target: str
    rejected: str | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    voices: tuple[tuple[str, str], ...] = ()

    @property
    def author(self) -> str:
        """Whose correction it is; feedback that has been joined has an author."""
        return self.source.author or self.source.inference

    @property
    def sources(self) -> frozenset[str]:
        """The authors of all that it stands for."""
        return frozenset(author for author, _ in self.voices)

    @property
    def role(self) -> str:
        """An expert's, where one said so too."""
        return EXPERT if any(role == EXPERT for _, role in self.voices) else self.source.role


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


def contest_key(turns: Sequence[Turn]) -> str:
    """The same for conversations in which different targets contradict each other."""
    return conversation_key([(role, _NUMBER.sub("0", text) if role == "system" else text) for role, text in turns])


def _packed(*parts: str) -> bytes:
    return json.dumps(parts, ensure_ascii=True).encode()


def resolve(proposals: Iterable[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """The proposals that stay, by time of receipt, and the reason by feedback for each that does not."""
    agreed, refused = _agreed(proposals)
    same: dict[tuple[str, str], int] = {}
    first: dict[int, int] = {}
    for at, one in enumerate(agreed):
        key = (conversation_key([turn for turn in one.turns if turn[0] != "system"]), target_key(one.target))
        if same.setdefault(key, at) != at:
            first[at] = same[key]
            refused[one.source.feedback] = DUPLICATE
    left = [at for at in range(len(agreed)) if at not in first]
    for place, earlier in first_near(said(agreed[at].turns, agreed[at].target) for at in left).items():
        first[left[place]] = left[earlier]
        refused[agreed[left[place]].source.feedback] = NEAR_DUPLICATE
    stands: dict[int, list[Proposal]] = {}
    for at, one in enumerate(agreed):
        earlier = first.get(at, at)
        stands.setdefault(first.get(earlier, earlier), []).append(one)
    return [_standing_for(some) for _, some in sorted(stands.items())], refused


def _standing_for(some: Sequence[Proposal]) -> Proposal:
    """The first of `some`, for them all."""
    merged = [feedback for one in some for feedback in (one.source.feedback, *one.merged)]
    voices = {voice for one in some for voice in ((one.author, one.source.role), *one.voices)}
    return replace(some[0], merged=tuple(sorted(merged[1:])), voices=tuple(sorted(voices)))


def _agreed(proposals: Iterable[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """One proposal for each conversation whose authors want the same, by time of receipt, and why others go."""
    conversations: dict[str, list[Proposal]] = {}
    for proposal in sorted(proposals, key=lambda proposal: proposal.source.receipt):
        conversations.setdefault(contest_key(proposal.turns), []).append(proposal)
    kept: list[Proposal] = []
    refused: dict[str, str] = {}
    for rivals in conversations.values():
        experts = [proposal for proposal in rivals if proposal.source.role == EXPERT]
        last_word = {proposal.author: target_key(proposal.target) for proposal in rivals}
        if experts:
            last_word = dict.fromkeys(last_word, target_key(experts[-1].target))
        standing = []
        for proposal in rivals:
            if target_key(proposal.target) == last_word[proposal.author]:
                standing.append(proposal)
            else:
                refused[proposal.source.feedback] = SUPERSEDED
        agreed = len(set(last_word.values())) == 1
        if agreed:
            kept.append(_standing_for(standing))
            standing = standing[1:]
        for proposal in standing:
            refused[proposal.source.feedback] = DUPLICATE if agreed else CONTRADICTION
    return sorted(kept, key=lambda proposal: proposal.source.receipt), refused
