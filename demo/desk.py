"""The desk's users: who complains, who corrects, who sends junk, who thumbs, and the 400 who keep asking.

Who does what is a pure plan; `Desk` carries it out as an application would and keeps its own list of every feedback
that the service acknowledged, on disk, to hold against the service's ledger at the end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demo.client import Answer, Client, DemoError, Receipt
from demo.helpdesk import Case, Junk, Question, category_of
from demo.measure import DESK_TOKENS, Asked, spread, to_desk

USERS = 400
AT_ONCE = 12
THUMB_SHARE = 0.3  # of the users who keep asking
PAUSE_AFTER_ERROR_S = 0.5  # a user who got no answer does not hammer
FORGED_TOKEN = "fbt-0000000000" + "0" * 26
# Junk that the service may refuse at once; whatever it takes, it must account for in its ledger.
MAY_BE_REFUSED = ("self_identical", "too_long", "gibberish", "contradiction", "empty", "whitespace")


@dataclass(frozen=True)
class Visit:
    """One user's complaint, and what the user sends after the answer."""

    user: str
    complaint: str
    kind: str  # "correction", or the kind of junk
    thumb: str | None
    correction: str | None
    comment: str | None
    by_token: bool
    stream: bool


@dataclass(frozen=True)
class Seen:
    """One question of the 400 users, as they saw it; `sent` is monotonic seconds."""

    sent: float
    user: str
    variant: str | None
    failed: bool
    form: bool
    right: bool | None  # None for small talk, which has no right category


def user_name(number: int) -> str:
    """The desk's user `number`; there are USERS of them."""
    return f"customer-{number % USERS:03d}"


def plan_visits(cases: Sequence[Case], junk: Sequence[Junk], seed: int) -> tuple[Visit, ...]:
    """Every correction and all junk, mixed, each by another user; half go by token, a third are asked in a stream."""
    entries: list[tuple[str, str, str, str | None, str | None]] = [
        ("correction", case.complaint, "down", case.answer, None) for case in cases
    ] + [(row.kind, row.complaint, row.thumb, row.correction, row.comment) for row in junk]
    chance = random.Random(seed)
    chance.shuffle(entries)
    users = chance.sample(range(USERS), len(entries))
    return tuple(
        Visit(
            user=user_name(user),
            complaint=complaint,
            kind=kind,
            thumb=thumb,
            correction=correction,
            comment=comment,
            by_token=number % 2 == 0,
            stream=number % 3 == 0,
        )
        for number, (user, (kind, complaint, thumb, correction, comment)) in enumerate(zip(users, entries, strict=True))
    )


def shuffle_corrections(visits: Sequence[Visit], cases: Sequence[Case], seed: int) -> tuple[Visit, ...]:
    """The same complaints by the same users, each corrected with the answer of another category, at random.

    The answers are the same ones in the same number: only what belongs to what is lost. One category's complaints get
    many categories' answers, or the shuffle would be a relabelling to learn. What is left to learn is "never its own",
    which makes this a harder control than a plain permutation. Raises ValueError where one category has
    over half of the cases, since then no such order exists.
    """
    if 2 * max(Counter(case.category for case in cases).values()) > len(cases):
        raise ValueError("no order gives every complaint another category's answer")
    chance = random.Random(seed)
    given = chance.sample(cases, len(cases))
    while clashes := [i for i, case in enumerate(cases) if given[i].category == case.category]:
        for i in clashes:
            j = chance.randrange(len(cases))
            given[i], given[j] = given[j], given[i]
    wrong = {case.complaint: other.answer for case, other in zip(cases, given, strict=True)}
    return tuple(
        replace(visit, correction=wrong[visit.complaint]) if visit.kind == "correction" else visit for visit in visits
    )


class Desk:
    """The application between the users and the service."""

    def __init__(self, client: Client, book: Path) -> None:
        self.client = client
        self.book = book  # channel and id of every acknowledged feedback, one a line

    def acknowledged(self, channel: str) -> int:
        """How many feedbacks on this channel the service has acknowledged, counted by their ids."""
        if not self.book.exists():
            return 0
        rows = (line.split() for line in self.book.read_text().splitlines())
        return len({row[1] for row in rows if row[0] == channel})

    async def receive(self, channel: str, visits: Sequence[Visit], asked: Asked) -> dict[str, Any]:
        """Play the visits. Returns counts: acknowledged, refused at the door (by kind), and what was tried besides."""

        async def visit(one: Visit) -> tuple[Visit, Answer, Receipt | None]:
            answer = await self.client.ask(channel, to_desk(one.complaint), one.user, DESK_TOKENS, one.stream)
            return one, answer, await self._send(channel, one, answer)

        played = await spread(visits, visit, asked, AT_ONCE)
        sent = [(one, receipt) for one, _, receipt in played if receipt is not None]
        refused = Counter(one.kind for one, receipt in sent if receipt.id is None)
        unexpected = {kind for kind in refused if kind not in MAY_BE_REFUSED}
        if unexpected:
            words = next(receipt.message for one, receipt in sent if receipt.id is None and one.kind in unexpected)
            raise DemoError(f"the service refused good feedback ({', '.join(sorted(unexpected))}): {words}")
        noted = [(one, answer, receipt) for one, answer, receipt in played if receipt is not None and receipt.id]
        if not noted:
            raise DemoError("no feedback was acknowledged: " + "; ".join(self.client.tally.errors[-1:]))
        return {
            "visits": len(visits),
            "answered_right_already": sum(
                one.kind == "correction" and answer.text.strip() == one.correction for one, answer, _ in played
            ),
            "acknowledged": len({receipt.id for _, receipt in sent if receipt.id}),
            "refused_at_the_door": dict(sorted(refused.items())),
            "sent_twice_has_one_id": await self._twice(channel, *noted[0]),
            "forged_token_status": await self._forged(noted[0][1]),
        }

    async def _send(self, channel: str, visit: Visit, answer: Answer) -> Receipt | None:
        """The user's feedback; None where there was no answer to judge."""
        if answer.error is not None or answer.inference is None:
            return None
        thumb, correction = visit.thumb, visit.correction
        if visit.kind == "self_identical":
            correction = answer.text
        elif visit.kind == "correction" and answer.text.strip() == correction:
            thumb, correction = "up", None  # nobody corrects what is right already
        given = {"thumb": thumb, "correction": correction, "comment": visit.comment}
        body = {"inference_id": answer.inference} | {key: value for key, value in given.items() if value is not None}
        token = answer.token if visit.by_token else None
        receipt = await self.client.feedback(body, token)
        self._note(channel, receipt)
        return receipt

    async def thumb(self, channel: str, answer: Answer, liked: bool) -> None:
        """A thumb on an answer, by its token, from the browser as it were."""
        body = {"inference_id": answer.inference, "thumb": "up" if liked else "down"}
        self._note(channel, await self.client.feedback(body, answer.token))

    async def _twice(self, channel: str, visit: Visit, answer: Answer, receipt: Receipt) -> bool:
        again = await self._send(channel, visit, answer)
        return again is not None and again.id == receipt.id

    async def _forged(self, answer: Answer) -> int:
        body = {"inference_id": answer.inference, "thumb": "down", "correction": "Not by a user of the desk."}
        return (await self.client.feedback(body, FORGED_TOKEN)).status

    def _note(self, channel: str, receipt: Receipt) -> None:
        if receipt.id is not None:
            with self.book.open("a") as book:
                book.write(f"{channel} {receipt.id}\n")


def keep_asking(traffic: Sequence[Question], seed: int) -> Iterator[tuple[str, Question, bool]]:
    """Without end: (user, question, whether the user thumbs). Every user asks once before anyone asks again."""
    chance = random.Random(seed)
    while True:
        users = chance.sample(range(USERS), USERS)
        questions = chance.sample(traffic, len(traffic))
        for number, user in enumerate(users):
            yield user_name(user), questions[number % len(questions)], chance.random() < THUMB_SHARE


async def rush(
    desk: Desk, channel: str, traffic: Sequence[Question], stop: asyncio.Event, seen: list[Seen], seed: int
) -> None:
    """The 400 users, AT_ONCE of them at a time, until `stop` is set; each question is appended to `seen`.

    It returns when the questions under way have been answered: nobody is cut off.
    """
    plan = keep_asking(traffic, seed)

    async def seat() -> None:
        while not stop.is_set():
            user, question, thumbs = next(plan)
            answer = await desk.client.ask(channel, to_desk(question.text), user, DESK_TOKENS)
            category = category_of(answer.text)
            right = None if question.category is None else category == question.category
            failed = answer.error is not None
            seen.append(Seen(answer.sent, user, answer.variant, failed, category is not None, right))
            if failed:
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)
            elif thumbs and right is not None:
                await desk.thumb(channel, answer, right)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(seat())
