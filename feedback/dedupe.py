"""Which of several corrections that say the same stays: a pure function.

Two conversations are the same, and two targets, when they are after `clean.compared`; a system prompt may hold other
numbers, such as today's date. Answers to people who gave other personal data do not contradict each other. Within one
conversation an author's last word counts, before all others the latest expert's, and before these what reviewers
decided last; what a model proposed counts where no person speaks. If two authors then want different answers, neither
is taken (a contradiction); answers that differ in politeness, marks or a slip are not different (gist.py). Of those
that are left, rows with the same turns and target are one, whatever their system prompts, and so are near ones
(near.py). The first received stays, before all others one that was reviewed, or in the words of the latest expert,
and says for whom it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from feedback.clean import compared
from feedback.gist import sayings
from feedback.join import Joined, Turn
from feedback.near import first_near, said
from thumbwheel.ids import digest32
from thumbwheel.ledger import CONTRADICTION, DUPLICATE, NEAR_DUPLICATE, SUPERSEDED
from thumbwheel.roles import EXPERT, PERSONS, USER

KEY_CHARS = 26

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Proposal:
    """A correction that could be taught: its feedback, the conversation up to the user's last turn, and the target.

    `rejected` is the answer that it corrects. `label` says of a thumb without a correction whether the target, which is
    the answer itself, was liked. `redacted` counts the values that were taken out of the conversation, by
    kind. `merged` is the other feedback that it stands for, `voices` the authors and roles of all of it; both are
    known once duplicates are gone. `decided` is None unless reviewers want it taught, and orders their decisions, the
    latest last; `reviews` are their ids, each with its reviewer. `private` is a digest of the personal data that was
    taken out of the conversation: it tells strangers' questions apart, and is kept nowhere.
    """

    source: Joined
    turns: tuple[Turn, ...]
    target: str
    rejected: str | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    voices: tuple[tuple[str, str], ...] = ()
    label: bool | None = None
    decided: tuple[int, str] | None = None
    reviews: tuple[tuple[str, str], ...] = ()
    private: str = field(default="", repr=False)

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
        """An expert's, where one said so too; a person's, where one said what a model proposed."""
        roles = {self.source.role, *(role for _, role in self.voices)}
        return next((role for role in (EXPERT, USER) if role in roles), self.source.role)


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


def contest_key(turns: Sequence[Turn], private: str = "") -> str:
    """The same for conversations in which different targets contradict each other.

    `private` is `Proposal.private`: what two people ask for their own numbers has an answer for each.
    """
    key = conversation_key([(role, _NUMBER.sub("0", text) if role == "system" else text) for role, text in turns])
    return digest32(_packed("private", key, private), KEY_CHARS) if private else key


def _packed(*parts: str) -> bytes:
    return json.dumps(parts, ensure_ascii=True).encode()


def resolve(proposals: Iterable[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """The proposals that stay, by time of receipt, and the reason by feedback for each that does not."""
    proposals = list(proposals)
    contests = {one.source.feedback: contest_key(one.turns, one.private) for one in proposals}
    targets: dict[str, set[str]] = {}
    for one in proposals:
        targets.setdefault(contests[one.source.feedback], set()).add(one.target)
    means = {contest: sayings(some) for contest, some in targets.items()}
    standing, refused = agreed(
        proposals,
        lambda one: (contests[one.source.feedback],),
        lambda one: target_key(one.target),
        lambda one: means[contests[one.source.feedback]][one.target],
    )
    kept, alike = merged(standing)
    return kept, refused | alike


def merged(proposals: Sequence[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """One of all that say the same or nearly the same: the first. And the reason by feedback for each other one."""
    proposals = sorted(proposals, key=_is_unreviewed)
    refused: dict[str, str] = {}
    same: dict[tuple[str, str], int] = {}
    first: dict[int, int] = {}
    for at, one in enumerate(proposals):
        key = (conversation_key([turn for turn in one.turns if turn[0] != "system"]), target_key(one.target))
        if same.setdefault(key, at) != at:
            first[at] = same[key]
            refused[one.source.feedback] = DUPLICATE
    left = [at for at in range(len(proposals)) if at not in first]
    for place, earlier in first_near(said(proposals[at].turns, proposals[at].target) for at in left).items():
        first[left[place]] = left[earlier]
        refused[proposals[left[place]].source.feedback] = NEAR_DUPLICATE
    return standing_for(proposals, first), refused


def standing_for(proposals: Sequence[Proposal], first: Mapping[int, int]) -> list[Proposal]:
    """Those that stand, by time of receipt, each for all behind which it stands: `first` says for a place another."""
    stands: dict[int, list[Proposal]] = {}
    for at, one in enumerate(proposals):
        earlier = first.get(at, at)
        stands.setdefault(first.get(earlier, earlier), []).append(one)
    return sorted(map(_standing_for, stands.values()), key=lambda one: one.source.receipt)


def _standing_for(some: Sequence[Proposal]) -> Proposal:
    """The first of `some`, for them all."""
    merged = [feedback for one in some for feedback in (one.source.feedback, *one.merged)]
    voices = {voice for one in some for voice in ((one.author, one.source.role), *one.voices)}
    reviews = {review for one in some for review in one.reviews}
    return replace(
        some[0], merged=tuple(sorted(merged[1:])), voices=tuple(sorted(voices)), reviews=tuple(sorted(reviews))
    )


def _is_unreviewed(one: Proposal) -> bool:
    return one.decided is None


def agreed(
    proposals: Iterable[Proposal],
    contest: Callable[[Proposal], tuple[str, ...]],
    says: Callable[[Proposal], str],
    means: Callable[[Proposal], str],
) -> tuple[list[Proposal], dict[str, str]]:
    """One proposal for each contest whose authors mean the same, by time of receipt, and why others go.

    Who says the same means the same. An author's last wording counts; authors contradict each other by meaning. Where
    persons speak, what a model proposed otherwise is gone, whoever approved it.
    """
    contests: dict[tuple[str, ...], list[Proposal]] = {}
    for proposal in sorted(proposals, key=lambda proposal: proposal.source.receipt):
        contests.setdefault(contest(proposal), []).append(proposal)
    kept: list[Proposal] = []
    refused: dict[str, str] = {}
    for rivals in contests.values():
        decisive = _decisive(rivals)
        persons = [proposal for proposal in rivals if proposal.source.role in PERSONS]
        last_word = {proposal.author: proposal for proposal in persons or rivals}
        wanted = {means(decisive)} if decisive else {means(proposal) for proposal in last_word.values()}
        standing = []
        for proposal in rivals:
            if decisive or proposal.source.role not in PERSONS:
                stands = means(proposal) in wanted
            else:
                stands = says(proposal) == says(last_word[proposal.author])
            if stands:
                standing.append(proposal)
            else:
                refused[proposal.source.feedback] = SUPERSEDED
        if len(wanted) == 1:
            words = decisive or next((one for one in standing if one.source.role in PERSONS), standing[0])
            standing.sort(key=lambda one: (_is_unreviewed(one), says(one) != says(words)))
            kept.append(_standing_for(standing))
        for proposal in standing if len(wanted) > 1 else standing[1:]:
            if len(wanted) > 1:
                refused[proposal.source.feedback] = CONTRADICTION
            else:
                refused[proposal.source.feedback] = DUPLICATE if says(proposal) == says(standing[0]) else NEAR_DUPLICATE
    return sorted(kept, key=lambda proposal: proposal.source.receipt), refused


def _decisive(rivals: Sequence[Proposal]) -> Proposal | None:
    """Whose word ends a contest: what reviewers decided last, or the latest expert's; None where neither spoke."""
    persons = [proposal for proposal in rivals if proposal.source.role in PERSONS]
    decided = [proposal for proposal in persons or rivals if proposal.decided is not None]
    if decided:
        return max(decided, key=lambda one: one.decided or (0, ""))
    return next((proposal for proposal in reversed(rivals) if proposal.source.role == EXPERT), None)
