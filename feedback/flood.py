"""Rows that somebody floods a channel with: pure functions of what the rows say and when they were received.

Rows are alike where their targets are: the same but for numbers, or with much the same n-grams. Of one author at most
`most` alike rows are taken, the first received, under every policy.

Where a channel asks for more than one author's word, whoever would flood it takes many names. Then alike rows of many
authors are a flood where all of this holds:

    many      they are over `most`
    a burst   BULK of them came within a stretch that holds at most WITHIN of the channel's other corrections
    of none   their questions, without what nearly all of them share (a trigger), are not much more like each other than
              like the channel's others; people with one complaint, in an outage say, ask alike

and their many names count as one author's: the first `most` are taken, the others wait. A house's fixed reply comes all
the time, so it is no burst; a new one, a notice of a holiday say, looks like a flood as long as it is new. What this
cannot tell from a fixed reply: a flood that takes as long as the log does. And from an outage: one that is about one
question alone.

Whoever wants another answer than everybody else, again and again, would have all those rows wait as contradictions. So
what contradicts CONTRARY of others' rows or more, and more of its own rows than not, is set aside before: alike rows,
and an author's. Unless few speak against it: of two who contradict each other all the time it says nothing.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from datasketch import MinHash, MinHashLSH

from feedback.dedupe import Proposal, contest_key
from feedback.gist import sayings
from feedback.near import core, grams, jaccard
from thumbwheel.roles import EXPERT

ALIKE = 0.6  # Jaccard of two targets' n-grams; a template of one house with another word in it has 0.7 and more
PERMUTATIONS, BANDS, ROWS = 64, 16, 4  # finds a pair at 0.6 with probability 0.89, one at 0.3 with 0.12
SEED = 1
MOST_COMPARED = 16
BULK, WITHIN = 0.8, 0.2
OTHERS = 5  # times `most`: with fewer other corrections there is nothing that a burst could be told by
SHARED = 0.8  # of a group's questions: what so many of them hold is what the group has in common
SAMPLE = 40  # questions that are compared with each other
# Questions of one complaint are more like each other than like the channel's others, by so much: 0.09 and 0.001 in a
# simulated outage; 0.05 to 0.07 and 0.03 to 0.07 in floods, which ask all that the channel is asked.
CLOSER, CLOSER_BY = 2.0, 0.05

CONTRARY = 5  # rows

_NUMBER = re.compile(r"\d+")


def of_one(kept: Sequence[Proposal], most: int) -> set[str]:
    """The feedback of `kept`, which is by time of receipt, that is over its author's `most` alike rows."""
    rows: dict[str, list[Proposal]] = {}
    for proposal in kept:
        rows.setdefault(proposal.author, []).append(proposal)
    busy = [some for some in rows.values() if len(some) > most]
    return {
        some[at].source.feedback
        for some in busy
        for group in alike([proposal.target for proposal in some])
        for at in group[most:]
    }


def of_many(kept: Sequence[Proposal], said: Sequence[Proposal], most: int) -> set[str]:
    """The feedback of `kept`, which is by time of receipt, that is over `most` of one flood; `said` is all proposed."""
    groups = [[kept[at] for at in group] for group in alike([proposal.target for proposal in kept])]
    floods = [
        rows for rows in groups if len(rows) > most and _is_burst(rows, said, most) and _asks_anything(rows, kept)
    ]
    return {row.source.feedback for rows in floods for row in rows[most:]}


def contrary(said: Sequence[Proposal]) -> set[str]:
    """The feedback of `said` that contradicts many others' and seldom agrees with any.

    No expert's, and none that a reviewer has decided on.
    """
    ordered = sorted(said, key=lambda one: one.source.receipt)
    contests = _contests(ordered)
    may = [one for one in ordered if one.decided is None and one.source.role != EXPERT]
    by_author: dict[str, list[Proposal]] = {}
    for one in may:
        by_author.setdefault(one.author, []).append(one)
    found: set[str] = set()
    for group in [*([may[at] for at in places] for places in alike([one.target for one in may])), *by_author.values()]:
        left = [one for one in group if one.source.feedback not in found]
        if len(left) >= CONTRARY and _is_contrary(left, contests, found):
            found |= {one.source.feedback for one in left}
    return found


def _contests(ordered: Iterable[Proposal]) -> dict[str, list[tuple[Proposal, str]]]:
    """By conversation, who wants an answer there, with what stands for all answers of its meaning."""
    found: dict[str, list[Proposal]] = {}
    for one in ordered:
        found.setdefault(contest_key(one.turns, one.private), []).append(one)
    means = {key: sayings(one.target for one in rivals) for key, rivals in found.items()}
    return {key: [(one, means[key][one.target]) for one in rivals] for key, rivals in found.items()}


def _is_contrary(
    group: Sequence[Proposal], contests: Mapping[str, Sequence[tuple[Proposal, str]]], gone: Collection[str]
) -> bool:
    """Whether most of a group's rows are contradicted, and by as many authors as half of these rows or more."""
    own = {one.author for one in group}
    contradicted, against = 0, set()
    for one in group:
        rivals = contests[contest_key(one.turns, one.private)]
        (meant,) = {means for rival, means in rivals if rival is one}
        others = [(rival, means) for rival, means in rivals if rival.author not in own]
        authors = {rival.author for rival, means in others if means != meant and rival.source.feedback not in gone}
        contradicted += bool(authors)
        against |= authors
    return contradicted >= CONTRARY and 2 * contradicted > len(group) and 2 * len(against) >= contradicted


def alike(targets: Sequence[str]) -> list[list[int]]:
    """The places of targets that are alike, each in one group, in order; near the group's first one, that is."""
    empty = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme="affine32", hashfunc=zlib.crc32)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    leaders: list[frozenset[str]] = []
    same: dict[tuple[str, ...], int] = {}
    groups: list[list[int]] = []
    for at, target in enumerate(targets):
        tokens = core(_NUMBER.sub("0", target))
        group = same.get(tokens)
        if group is None:
            said = grams(tokens)
            hashed = empty.copy()
            hashed.update_batch(gram.encode() for gram in sorted(said))
            found = sorted(index.query(hashed))[:MOST_COMPARED]
            group = next((other for other in found if jaccard(leaders[other], said) >= ALIKE), len(groups))
            if group == len(groups):
                index.insert(group, hashed)
                leaders.append(said)
                groups.append([])
            same[tokens] = group
        groups[group].append(at)
    return groups


def _is_burst(rows: Sequence[Proposal], said: Sequence[Proposal], most: int) -> bool:
    own = {feedback for row in rows for feedback in (row.source.feedback, *row.merged)}
    others = sorted(one.source.receipt for one in said if one.source.feedback not in own)
    if len(others) < OTHERS * most:
        return False
    at = sorted(bisect.bisect(others, row.source.receipt) for row in rows)
    bulk = math.ceil(BULK * len(at))
    stretch = min(last - first for first, last in zip(at, at[bulk - 1 :], strict=False))
    return stretch <= WITHIN * len(others)


def _asks_anything(rows: Sequence[Proposal], kept: Sequence[Proposal]) -> bool:
    own = {row.source.feedback for row in rows}
    asked = [_question(row) for row in _sampled(rows)]
    counts = Counter(gram for question in asked for gram in question)
    common = {gram for gram, count in counts.items() if count >= SHARED * len(asked)}
    left = [question - common for question in asked]
    others = [_question(row) for row in _sampled([row for row in kept if row.source.feedback not in own])]
    to_others = _likeness(itertools.product(left, others))
    return _likeness(itertools.combinations(left, 2)) <= CLOSER * to_others + CLOSER_BY


def _sampled(rows: Sequence[Proposal]) -> list[Proposal]:
    return list(rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE])


def _question(row: Proposal) -> frozenset[str]:
    return grams(core(_NUMBER.sub("0", row.turns[-1][1])))


def _likeness(pairs: Iterable[tuple[frozenset[str], frozenset[str]]]) -> float:
    """The mean Jaccard of the pairs; 0 where there are none."""
    found = [jaccard(one, other) for one, other in pairs if one or other]
    return sum(found) / len(found) if found else 0.0
