"""A play: blows under load, and then the account of what became of everything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from tests.chaos.judge import (
    Held,
    judge,
    judge_after_run,
    judge_after_window,
    judge_answers,
    judge_inferences,
    judge_unknown,
    unknown,
)
from tests.chaos.load import CHANNEL
from tests.chaos.points import ENOUGH, NAMED, RANDOM
from tests.chaos.scene import PATIENCE_S, Scene, records, twice
from tests.chaos.strangers import Strangers
from thumbwheel.clock import system_clock
from thumbwheel.events import FEEDBACK, INFERENCE, decode
from thumbwheel.ledger import DEAD_LETTER, REFUSED, UNHANDLED, WAITING
from thumbwheel.store import data_rows, dead_letter_rows, ingestion, schema
from thumbwheel.store.connection import Store

WARM = 20  # acknowledged feedback before the first blow
RUN_S = 240.0
LETTERS = 100_000
LATER = "ledger past the window"
OVER = ("candidate", "rejected", "insufficient_evidence", "failed")


def play(scene: Scene, blows: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Strike `blows`, names in NAMED or RANDOM, in this order; the account, whose `faults` should be empty."""
    began_s = time.monotonic()
    known = {**NAMED, **RANDOM}
    strangers = Strangers(scene)
    scene.load.start()
    strangers.before()
    strangers.late()
    scene.until(lambda: scene.load.journal.acknowledged >= WARM, "the first feedback", 180)
    for name in blows:
        seen = known[name](scene)
        scene.goes_on()
        scene.done.append({"blow": name, "seen": seen, "at_s": round(time.monotonic() - began_s, 1)})
        say(f"{scene.done[-1]['at_s']:6.1f} s  {name}: {seen}")
    scene.until(lambda: scene.load.journal.acknowledged >= ENOUGH, "enough corrections for a dataset", 180)
    strangers.apart()
    strangers.after()
    scene.load.stop()
    strangers.close()
    settle(scene)
    account = reckon(scene)
    say(f"{time.monotonic() - began_s:6.1f} s  all is read; one more run, and the clock past the window")
    faults, account[LATER] = past_the_window(scene)
    account["faults"] += faults
    account["feedback"]["inference unknown"] = len(unknown(held(scene.store)))
    account["seconds"] = round(time.monotonic() - began_s, 1)
    return account


def settle(scene: Scene) -> None:
    """Wait until nothing is on its way any more."""
    scene.service.wait_ready(PATIENCE_S)
    scene.until(lambda: not scene.spools(), "the spools to be drained")
    for worker in range(2):  # a batch may have left the spool and not reached the log: two looks, apart
        scene.until(scene.caught_up, "the consumer to read everything")
        time.sleep(0.5 * (1 - worker))


def held(store: Store) -> list[Held]:
    """All feedback of the channel as the store has it, dead letters too."""
    c = schema.feedback.c
    with store.read() as tx:
        rows = tx.execute(select(c.id, c.tags, c.state, c.reason, c.inference).where(c.channel == CHANNEL)).all()
        buried = dead_letter_rows.listed(tx, LETTERS, FEEDBACK)
    found = [Held(row.id, next(iter(row.tags), None), row.state, row.reason, row.inference) for row in rows]
    for letter in buried:
        tags = msgspec.json.decode(letter.record.value).get("tags") or [None]
        stands = (REFUSED, UNHANDLED) if letter.given_up else (WAITING, DEAD_LETTER)
        found.append(Held(str(letter.event), tags[0], *stands))
    return found


def reckon(scene: Scene) -> dict[str, Any]:
    """What was said and what is there, and everything that is wrong."""
    journal, stored = scene.load.journal, held(scene.store)
    with scene.store.read() as tx:
        ledger = data_rows.ledger(tx, CHANNEL)
        inferences = list(tx.execute(select(schema.inferences.c.id)).scalars())
    logged = [decode(value).id for value in records(scene, INFERENCE)]  # type: ignore[union-attr]
    heard = [decode(value).id for value in records(scene, FEEDBACK)]  # type: ignore[union-attr]
    said = journal.said()
    unheard = {word.mark for word in said if not word.ids}
    return {
        "blows": scene.done,
        "load": dict(sorted(journal.counts.items())),
        "feedback": {
            "said": len(said),
            "acknowledged": len(said) - len(unheard),
            "not acknowledged": len(unheard),
            "not acknowledged and stored": sum(one.mark in unheard for one in stored),
            "stored": len(stored),
            "in the log again": twice(heard),
        },
        "inferences": {
            "answered": len(journal.answered),
            "stored": len(inferences),
            "in the log again": twice(logged),
            "answered and not stored": len(journal.answered.keys() - set(inferences)),
        },
        "ledger": ledger,
        "faults": [
            *judge(said, stored, ledger),
            *judge_inferences(logged, inferences),
            *judge_answers(journal.answered, inferences, scene.killed.get("gateway", ())),
        ],
    }


def past_the_window(scene: Scene) -> tuple[list[str], dict[str, Any]]:
    """What is wrong once a run has seen everything and the clock is a day past the feedback window; the ledger then."""

    def over() -> bool:
        return all(scene.service.run(run)["state"] in OVER for run in scene.service.view(CHANNEL)["runs"])

    scene.until(over, "the run before to end", RUN_S)
    run = scene.service.start_run(CHANNEL)
    found = scene.service.wait_run(run, "training", "evaluating", timeout_s=RUN_S)
    assert found["dataset"] is not None, found
    faults = judge_after_run(held(scene.store))
    with scene.store.write() as tx:
        ingestion.give_up(tx, system_clock() + 86_400_000)  # no feedback was received later than that
        ledger = data_rows.ledger(tx, CHANNEL)
    stored = held(scene.store)
    lost = judge_unknown(stored, scene.load.journal.answered, scene.killed.get("gateway", ()))
    return [*faults, *judge(scene.load.journal.said(), stored, ledger), *judge_after_window(stored), *lost], ledger


def table(account: dict[str, Any]) -> str:
    """The account for people."""
    lines = [f"{what}: {account[what]}" for what in ("load", "feedback", "inferences", "ledger", LATER)]
    points = Counter(one["blow"] for one in account["blows"])
    return "\n".join([*lines, f"blows: {dict(points)}", f"faults: {account['faults'] or 'none'}"])
