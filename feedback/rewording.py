"""`thumbwheel reword`: has a model say in other words what a channel's next dataset would be trained on.

    thumbwheel reword --channel NAME [--limit N] [--json]

It is for channels whose `augment` names `paraphrase` or `back_translation`, and asks the server that the setting
`teacher` names. Which questions these are, curation says, asked on what the store holds now; what judges and what
chooses is never sent, nor is anything but the question, with personal data and secrets masked as in the row. A
back-translation is two questions: into another language, and back.

Each wording is recorded in the event log as it comes, under an id that follows from kind, feedback, model and question:
killed and started again the command goes on where it was, and the next run finds what is recorded by then. Of a wording
that will not do (vary/recorded.py) it is recorded that there is none, so nobody pays for it twice. Exit status: 0, or 1
where something was asked and nothing of it was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field

import httpx

from feedback import splits, teacher
from feedback.capture import take_snapshot
from feedback.clean import clean
from feedback.curate import curate
from feedback.names import By, finder
from feedback.snapshot import SFT, Example
from feedback.teacher import Failed, Patience, Question, Said, Server
from feedback.vary import recorded
from feedback.vary.recorded import BACK_TRANSLATION, PARAPHRASE, event_id, fault
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import a_number, add_json, parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.errors import InvalidRequest
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import CURATION, ComputedEvent, encode, place_of
from thumbwheel.home import Home
from thumbwheel.printable import printable
from thumbwheel.scripts import LATIN, script_of
from thumbwheel.settings import Settings, models_of_names
from thumbwheel.store import curation_rows, release_rows
from thumbwheel.store.connection import Store, existing_store

LIMIT, MOST = 100, 10_000  # wordings asked for
VERSION_CHARS = 200
KEEP = "Keep every number, name and code, and words in brackets such as [PHONE_1], as they are."
PARAPHRASE_IT = (
    f"Say the user's message in other words, in the same language and with the same meaning. {KEEP} Do not answer it. "
    "Write the reworded message and nothing else."
)
TRANSLATE_IT = (
    "Write the name of the language of the user's message on the first line, in English, and on the lines after it the "
    f"message's translation into {{}}. {KEEP} Do not answer it. Write nothing else."
)
BRING_IT_BACK = (
    f"Translate the user's message into {{}}. {KEEP} Do not answer it. Write the translation and nothing else."
)
NO_LANGUAGE = "no_language"
MOST_LANGUAGE = 40  # characters of a language's name


@dataclass(frozen=True)
class Wanted:
    """A wording to ask for, of a question from which personal data is gone."""

    kind: str
    feedback: str
    question: str


@dataclass
class Tally:
    """What came of it, in numbers. `left` are wordings that are still to be asked for."""

    asked: int = 0
    reworded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    left: int = 0


# pure


def to_ask(examples: Sequence[Example], kinds: Sequence[str], known: frozenset[str], model: str) -> list[Wanted]:
    """What is not recorded yet of what would be trained on, the first received first."""
    wanted = [
        Wanted(kind, example.proposal.source.feedback, example.proposal.turns[-1][1])
        for example in sorted(examples, key=lambda example: example.proposal.source.receipt)
        if example.split == splits.TRAIN and example.kind == SFT
        for kind in kinds
    ]
    return [one for one in wanted if event_id(one.kind, one.feedback, model, one.question) not in known]


def first_question(wanted: Wanted) -> Question:
    """What is asked of the model first."""
    if wanted.kind == PARAPHRASE:
        return _question(PARAPHRASE_IT, wanted.question)
    return _question(
        TRANSLATE_IT.format("Chinese" if script_of(wanted.question) == LATIN else "English"), wanted.question
    )


def way_back(translated: str) -> Question | None:
    """What is asked next of a translation; None where it does not say what language it is of."""
    language, _, text = clean(translated).strip().partition("\n")
    language = language.strip(" .:*#")
    if not text.strip() or not language or len(language) > MOST_LANGUAGE or not language.replace(" ", "").isalpha():
        return None
    return _question(BRING_IT_BACK.format(language), text.strip())


def _question(told: str, text: str) -> Question:
    return {"messages": [{"role": "system", "content": told}, {"role": "user", "content": text}]}


# asking


async def ask(
    server: Server,
    key: str | None,
    patience: Patience,
    wanted: Sequence[Wanted],
    channel: str,
    log: EventLog,
    clock: Clock,
    tally: Tally,
) -> None:
    """Ask for each wording, and record each that is answered. Raises StoreUnavailable."""

    def record(one: Wanted, said: Said, text: str, reason: str | None) -> None:
        event = ComputedEvent(
            id=event_id(one.kind, one.feedback, server.model, one.question),
            feedback=one.feedback,
            channel=channel,
            at_ms=clock(),
            what=one.kind,
            model=server.model,
            version=clean(said.version)[:VERSION_CHARS],
            value=text if reason is None else None,
        )
        log.append(CURATION, [(place_of(event)[1], encode(event))], durable=True)
        tally.reworded += reason is None
        tally.unusable.update([reason] if reason else [])

    back: list[tuple[Wanted, Question]] = []
    async with teacher.client(key, patience.in_flight) as http:
        first = [(one, first_question(one)) for one in wanted]
        async with aclosing(_answers(http, server, patience, first, tally)) as answers:
            async for one, said in answers:
                text = clean(said.text).strip()
                if one.kind != BACK_TRANSLATION:
                    record(one, said, text, fault(one.question, text))
                elif (question := way_back(said.text)) is not None:
                    back.append((one, question))
                else:
                    record(one, said, text, NO_LANGUAGE)
        async with aclosing(_answers(http, server, patience, back, tally)) as answers:
            async for one, said in answers:
                text = clean(said.text).strip()
                record(one, said, text, fault(one.question, text))


async def _answers(
    http: httpx.AsyncClient,
    server: Server,
    patience: Patience,
    asked: Sequence[tuple[Wanted, Question]],
    tally: Tally,
) -> AsyncGenerator[tuple[Wanted, Said], None]:
    """What is answered, as it comes; what is not is counted."""
    async with aclosing(teacher.ask_all(http, server, [question for _, question in asked], patience)) as stream:
        async for place, said in stream:
            tally.asked += said != Failed(teacher.NOT_ASKED)
            if isinstance(said, Failed):
                tally.failed[said.reason] += 1
            else:
                yield asked[place][0], said


# the verb


def run(argv: list[str]) -> int:
    """The verb `reword`."""
    arguments = _options(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    tally = Tally()
    with closing(existing_store(settings, home)) as store, closing(open_log(settings, home)) as log:
        kinds = _kinds(store, arguments.channel)
        server, patience = teacher.configured(settings)
        wanted = _lacking(store, home, settings, arguments.channel, kinds, server.model)
        tally.left = max(0, len(wanted) - arguments.limit)
        wanted = wanted[: arguments.limit]
        asking = ask(server, settings.teacher_key, patience, wanted, arguments.channel, log, system_clock, tally)
        asyncio.run(asking)
    _tell(tally, arguments)
    return 1 if wanted and not tally.reworded and not tally.unusable else 0


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("reword")
    options.add_argument("--channel", required=True, help="whose training questions to say in other words")
    options.add_argument("--limit", type=a_number(MOST), default=LIMIT, help=f"at most so many; {LIMIT} by default")
    add_json(options)
    return options.parse_args(argv)


def _kinds(store: Store, name: str) -> list[str]:
    """The kinds of `augment` that a model makes. Raises NotFound, InvalidRequest."""
    with store.read() as tx:
        policies = release_rows.get_channel(tx, name).policies
    kinds = [kind for kind in policies.augment.kinds if kind in recorded.KINDS]
    if not kinds or not policies.train:
        raise InvalidRequest(
            f"Channel {name} wants no model's wordings: its `augment.kinds` are {json.dumps(policies.augment.kinds)}, "
            f"`train` is {json.dumps(policies.train)}. Set one of {', '.join(recorded.KINDS)}, and true, first.",
            param="augment",
        )
    return kinds


def _lacking(store: Store, home: Home, settings: Settings, name: str, kinds: Sequence[str], model: str) -> list[Wanted]:
    """What to ask for. Raises JobError where the extra that finds names is not installed."""
    by: By | None = None
    if settings.name_models:
        by = finder(models_of_names(settings)).by
    with store.read() as tx:
        snapshot = take_snapshot(
            tx,
            ArtifactStore(home.artifacts),
            release_rows.get_channel(tx, name),
            None,
            as_of_ms=system_clock(),
            window_ms=round(settings.feedback_window_s * 1000),
            names_by=by,
        )
        known = frozenset(event.id for event in curation_rows.of_channel(tx, name, ComputedEvent))
    return to_ask(curate(snapshot).examples, kinds, known, model)


def _tell(tally: Tally, arguments: argparse.Namespace) -> None:
    counts = {name: dict(sorted(getattr(tally, name).items())) for name in ("failed", "unusable")}
    if arguments.json:
        numbers = {"asked": tally.asked, "reworded": tally.reworded, "left": tally.left}
        print(json.dumps({"channel": arguments.channel, **numbers, **counts}))
        return
    print(printable(f"{arguments.channel}: asked {tally.asked} questions; wordings recorded: {tally.reworded}."))
    for name, what in (("failed", "No answer"), ("unusable", "No use")):
        for reason, count in counts[name].items():
            print(f"{what}, {count}: {reason}.")
    if tally.left:
        print(f"Left for another time by --limit: {tally.left}.")
