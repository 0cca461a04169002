"""`thumbwheel propose`: has a model answer what was disliked and not corrected, for a reviewer to approve.

    thumbwheel propose --channel NAME [--limit N]                  the server that the setting `teacher` names
    thumbwheel propose --channel NAME [--limit N] --resample M     the channel's own stable release, M times each

It asks about each thumbs-down of the channel that waits without a correction and has no proposal yet, the first
received first, one of a conversation. What is asked and what comes back pass all that a correction passes. To a teacher
personal data is masked before it leaves, so its answer speaks of placeholders, as the row will. A resample is of use
where it is another answer and fits the channel's scorers that judge without a correction (regex, json_schema).

Each proposal is recorded as it comes, under an id that follows from its feedback and its model: killed and started
again, the command goes on where it was. A proposal is no row: a person approves it first (thumbwheel/adjudication.py).
Exit status: 0, or 1 where something was asked and nothing of it was answered. It knows nothing of reviewers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import Any

from feedback import teacher
from feedback.capture import joined
from feedback.clean import clean, compared
from feedback.dedupe import Proposal, conversation_key
from feedback.join import Joined, Turn
from feedback.names import NameFinder, compute, finder, names_in
from feedback.screening import Wants, conversation_of, screened, wants_of
from feedback.snapshot import Snapshot
from feedback.teacher import Failed, Patience, Said, Server
from thumbwheel.admin_client import endpoints
from thumbwheel.cli import a_number, add_json, parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.errors import InvalidRequest, NotRunning
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import CURATION, ProposalEvent, encode, place_of
from thumbwheel.home import Home
from thumbwheel.ids import digest32
from thumbwheel.ledger import NO_CORRECTION, SELF_IDENTICAL, WAITING
from thumbwheel.printable import printable
from thumbwheel.records import Channel
from thumbwheel.redact import redact
from thumbwheel.roles import TEACHER, VERIFIER
from thumbwheel.scorers import Scorer, parse_scorer, score
from thumbwheel.scoring import bounded
from thumbwheel.settings import Settings, models_of_names
from thumbwheel.store import curation_rows, release_rows
from thumbwheel.store.connection import Store, existing_store

LIMIT, MOST = 100, 10_000  # thumbs asked about
MOST_RESAMPLES = 16
RESAMPLE_TEMPERATURE = 1.0
ALONE = frozenset({"regex", "json_schema"})
"""Kinds of scorers that judge an answer without a correction."""
NOT_STABLE, UNFIT = "not_stable", "unfit"
"""Another release than the stable one answered; a scorer of the channel does not like the answer."""
SAME_CONVERSATION = "same_conversation"
VERSION_CHARS = 200
INSTRUCTION = (
    "Answer the user's last message, in the user's language. Say only what the user should read. Words in brackets "
    "such as [PHONE_1] stand for something that was taken out: use them as they are where you need them."
)
DISLIKED = "The user did not like this answer, so give a better one:"


@dataclass(frozen=True)
class Case:
    """A thumbs-down to ask about, with the turns that its answer answered and the names that were found in it."""

    row: Joined
    turns: tuple[Turn, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asker:
    """Whom to ask, and how. `fits` is None where an answer will do, else a word for why it won't."""

    role: str
    server: Server
    key: str | None
    patience: Patience
    questions: Callable[[Case], Sequence[Mapping[str, Any]]]
    fits: Callable[[Said], str | None]
    version: Callable[[Said], str]


@dataclass
class Tally:
    """What came of it, in numbers. `left` are thumbs that are still to be asked about."""

    asked: int = 0  # questions; one that is tried again is one
    proposed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    left: int = 0


# pure


def to_ask(
    rows: Sequence[Joined], answered: frozenset[str], wants: Wants, limit: int
) -> tuple[list[Case], Counter[str], int]:
    """What to ask about, why some cannot be asked about, and how many are left for another time.

    `answered` is the feedback that has a proposal.
    """
    seen = set()
    for row in rows:
        turns = conversation_of(row, wants) if row.feedback in answered else ""
        if not isinstance(turns, str):
            seen.add(conversation_key(turns))
    cases: list[Case] = []
    skipped: Counter[str] = Counter()
    left = 0
    for row in sorted(rows, key=lambda row: row.receipt):
        if row.feedback in answered or not _waits(row):
            continue
        turns = conversation_of(row, wants)
        if isinstance(turns, str):
            skipped[turns] += 1
        elif (key := conversation_key(turns)) in seen:
            skipped[SAME_CONVERSATION] += 1
        elif len(cases) == limit:
            left += 1
        else:
            seen.add(key)
            cases.append(Case(row, turns))
    return cases, skipped, left


def _waits(row: Joined) -> bool:
    waits = (row.state, row.reason) == (WAITING, NO_CORRECTION) and row.barred is None
    return waits and row.thumb == "down" and row.correction is None


def masked_question(case: Case, wants: Wants) -> dict[str, Any]:
    """What a teacher is asked: the conversation and the disliked answer, personal data and secrets masked."""
    answer = clean(case.row.answer or "")
    without = redact(case.turns, "", answer, wants.allowed, case.names)
    told = [INSTRUCTION, *([f"{DISLIKED}\n{without.answer}"] if (without.answer or "").strip() else [])]
    turns = list(without.turns)
    if turns[0][0] == "system":  # some servers take one system message and no more
        told.insert(0, turns.pop(0)[1])
    return {"messages": [{"role": role, "content": text} for role, text in (("system", "\n\n".join(told)), *turns)]}


def resamples(case: Case, times: int) -> list[dict[str, Any]]:
    """What the channel's own release is asked: the same once more, with chance in it, and not to be learnt from.

    Each has a unit of its own, as no user should seem to have asked.
    """
    messages = [{"role": role, "content": text} for role, text in case.turns]
    return [
        {
            "messages": messages,
            "temperature": RESAMPLE_TEMPERATURE,
            "store": False,
            "safety_identifier": f"resample-{case.row.feedback}-{number}",
        }
        for number in range(times)
    ]


def alone(scorers: Sequence[Mapping[str, object]], channel: str) -> list[Scorer]:
    """The channel's scorers that can judge a resample. Raises InvalidRequest where it has none."""
    found = [scorer for scorer in map(parse_scorer, scorers) if scorer.kind in ALONE]
    if not found:
        raise InvalidRequest(
            f"Channel {channel} has no scorer that judges an answer without a correction ({' or '.join(sorted(ALONE))})"
            ": nothing would tell a good resample. Give it one, or name a `teacher` in the settings."
        )
    return found


def usable(case: Case, text: str, wants: Wants) -> Proposal | str:
    """The proposal as a correction would be, or why such a correction would not be taken."""
    if compared(text) == compared(case.row.answer or ""):
        return SELF_IDENTICAL
    found = screened(replace(case.row, correction=text), False, wants, case.names)
    return found if isinstance(found, Proposal) else str(found[1])


def proposal_id(feedback: str, role: str, model: str) -> str:
    """The same for the same feedback, role and model, so that whoever asks twice says it once."""
    return f"proposal-{digest32(json.dumps([feedback, role, model]).encode(), 26)}"


# whom to ask


def teacher_of(settings: Settings, wants: Wants) -> Asker:
    """The server that the settings name. Raises InvalidRequest without one, JobError where it lists no model."""
    server, patience = teacher.configured(settings, ", or ask the channel's own release: --resample 4")
    return Asker(
        role=TEACHER,
        server=server,
        key=settings.teacher_key,
        patience=patience,
        questions=lambda case: [masked_question(case, wants)],
        fits=lambda _: None,
        version=lambda said: said.version,
    )


def own_release(settings: Settings, home: Home, channel: Channel, times: int) -> Asker:
    """The channel's stable release, through the gateway. Raises InvalidRequest, NotRunning."""
    scorers = alone(channel.policies.scorers, channel.name)
    if channel.variants:
        raise InvalidRequest(
            f"Channel {channel.name} has a rollout in progress, which would count resamples as its users' requests. "
            "Ask again when it has ended."
        )

    return Asker(
        role=VERIFIER,
        server=Server(endpoints(home)["api"], channel.name),
        key=_app_key(home),
        patience=Patience(timeout_s=settings.teacher_timeout_s),
        questions=lambda case: resamples(case, times),
        fits=lambda said: misfit(said, scorers, channel.name),
        version=lambda said: said.headers.get("x-thumbwheel-release", "unknown"),
    )


def misfit(said: Said, scorers: Sequence[Scorer], channel: str) -> str | None:
    """Why a resample is of no use, or None. Raises JobError where a scorer takes too long over it."""
    if said.headers.get("x-thumbwheel-variant") != "stable":
        return NOT_STABLE
    for scorer in scorers:
        with bounded(f"the {scorer.kind} scorer of channel {channel}", scorer.most_s):
            if score(scorer, said.text, None) != 1.0:
                return UNFIT
    return None


def _app_key(home: Home) -> str:
    file = home.keys / "app.key"
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as unreadable:
        raise NotRunning(f"the application's key cannot be read from {file}.") from unreadable


# asking


async def ask(
    asker: Asker, cases: Sequence[Case], wants: Wants, channel: str, log: EventLog, clock: Clock, tally: Tally
) -> None:
    """Ask about each case, and record a proposal for each that gets one. Raises StoreUnavailable, JobError."""
    asked = [(case, question) for case in cases for question in asker.questions(case)]
    proposed: set[str] = set()
    async with teacher.client(asker.key, asker.patience.in_flight) as http:
        answers = teacher.ask_all(http, asker.server, [question for _, question in asked], asker.patience)
        async with aclosing(answers):
            async for place, found in answers:
                case = asked[place][0]
                tally.asked += found != Failed(teacher.NOT_ASKED)
                if isinstance(found, Failed):
                    tally.failed[found.reason] += 1
                    continue
                made = asker.fits(found) or usable(case, found.text, wants)
                if isinstance(made, str):
                    tally.unusable[made] += 1
                elif case.row.feedback not in proposed:
                    event = _event(asker, case, channel, made.target, found, clock())
                    log.append(CURATION, [(place_of(event)[1], encode(event))], durable=True)
                    proposed.add(case.row.feedback)
                    tally.proposed += 1


def _event(asker: Asker, case: Case, channel: str, target: str, said: Said, now_ms: int) -> ProposalEvent:
    return ProposalEvent(
        id=proposal_id(case.row.feedback, asker.role, asker.server.model),
        feedback=case.row.feedback,
        channel=channel,
        at_ms=now_ms,
        target=target,
        role=asker.role,
        model=asker.server.model,
        version=clean(asker.version(said))[:VERSION_CHARS],
    )


def named(cases: Sequence[Case], names: NameFinder, channel: str) -> list[Case]:
    """The cases with what a model takes for names in them."""
    return [replace(case, names=names_in(case.row, compute(case.row, names, channel, 0))) for case in cases]


# the verb


def run(argv: list[str]) -> int:
    """The verb `propose`."""
    arguments = _options(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    tally = Tally()
    with closing(existing_store(settings, home)) as store, closing(open_log(settings, home)) as log:
        channel, rows, answered = _waiting(store, arguments.channel)
        now_ms = system_clock()
        wants = wants_of(Snapshot(channel.name, rows, now_ms, {}, clean=channel.policies.clean))
        cases, tally.skipped, tally.left = to_ask(rows, answered, wants, arguments.limit)
        times = arguments.resample
        asker = teacher_of(settings, wants) if times is None else own_release(settings, home, channel, times)
        if settings.name_models and cases:
            cases = named(cases, finder(models_of_names(settings)), channel.name)
        asyncio.run(ask(asker, cases, wants, channel.name, log, system_clock, tally))
    _tell(tally, channel.name, len(cases), arguments)
    return 1 if cases and not tally.proposed and not tally.unusable else 0


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("propose")
    options.add_argument("--channel", required=True, help="whose thumbs-down to ask about")
    options.add_argument("--limit", type=a_number(MOST), default=LIMIT, help=f"at most so many; {LIMIT} by default")
    options.add_argument(
        "--resample",
        type=a_number(MOST_RESAMPLES),
        metavar="N",
        help="ask the channel's own stable release, N times about each, instead of a teacher",
    )
    add_json(options)
    return options.parse_args(argv)


def _waiting(store: Store, name: str) -> tuple[Channel, tuple[Joined, ...], frozenset[str]]:
    """The channel, its feedback, and which of it has a proposal. Raises NotFound, InvalidRequest."""
    with store.read() as tx:
        channel = release_rows.get_channel(tx, name)
        if channel.policies.uncorrected != "propose" or not channel.policies.train:
            raise InvalidRequest(
                f"Channel {name} wants no proposals: its policies say `uncorrected: {channel.policies.uncorrected}`, "
                f"`train: {json.dumps(channel.policies.train)}`. Set `propose` and true first.",
                param="uncorrected",
            )
        made = curation_rows.of_channel(tx, name, ProposalEvent)
        return channel, joined(tx, name), frozenset(event.feedback for event in made)


def _tell(tally: Tally, channel: str, cases: int, arguments: argparse.Namespace) -> None:
    counts = {name: dict(sorted(getattr(tally, name).items())) for name in ("failed", "unusable", "skipped")}
    if arguments.json:
        numbers = {"asked": tally.asked, "proposed": tally.proposed, "left": tally.left}
        print(json.dumps({"channel": channel, "thumbs": cases, **numbers, **counts}))
        return
    print(printable(f"{channel}: asked about {cases} thumbs-down in {tally.asked} questions."))
    print(f"Proposals that wait for a reviewer now: {tally.proposed}.")
    for name, what in (("failed", "No answer"), ("unusable", "No use"), ("skipped", "Not asked about")):
        for reason, count in counts[name].items():
            print(f"{what}, {count}: {reason}.")
    if tally.left:
        print(f"Left for another time by --limit: {tally.left}.")
