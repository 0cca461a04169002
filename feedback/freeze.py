"""The curate job of a run: waits until the store has what the run shall see, curates it, and freezes the dataset.

    thumbwheel curate RUN [--home DIR]

The snapshot is one read transaction; the artifact is published before the rows that name it; and those rows, the
feedback's places in the ledger and the run's move to `training` are one transaction. So it can be killed between any
two steps and started again: what it leaves behind is at most an artifact that nothing names. Where there is too little,
or nothing new, the run ends `insufficient_evidence` with how much is missing: curation's refusals are kept then, but no
feedback is used and no split is fixed.

How far it is stands in the run's `progress`, as of every job.

A run that brings its own draft to be judged goes on to `evaluating`, and needs nothing new. It knows nothing of
training.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

from feedback.capture import take_snapshot
from feedback.card import reasons_of
from feedback.curate import Curation, curate
from feedback.embedding import Embedder, embedder, record_embeddings
from feedback.meaning import NOT_CONFIGURED
from feedback.names import By, finder
from feedback.naming import Naming, record_names
from feedback.snapshot import Snapshot
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.dataset_files import CARD, REASONS, ROWS
from thumbwheel.errors import ArtifactError, JobError, LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import Home, prepare
from thumbwheel.ledger import NO_RUN_YET, USED, WAITING, given_up
from thumbwheel.progress import AGAIN, note, seconds_left
from thumbwheel.records import Run
from thumbwheel.rollouts import advance_run, finish_run
from thumbwheel.settings import Settings, models_of_names
from thumbwheel.store import data_rows, dataset_rows, release_rows
from thumbwheel.store.connection import Store, open_store
from thumbwheel.store.dataset_rows import ExampleRow, Ruling

CATCH_UP_S = 300.0  # how long the consumer may take to reach the run's positions
STRAGGLERS_S = 5.0  # how long an inference may be behind a feedback that was acknowledged
RECENT_MS = 60_000  # a feedback that is older has no inference on its way
POLL_S = 0.05
NOTE_MS = 1_000  # while it waits, the run's row says how far it is so often
TRIES, TRY_S = 8, 0.5  # for a store or an artifact store that is locked, full or away; then the job ends with AGAIN

Sleep = Callable[[float], None]
Wanted = Mapping[str, Mapping[int, int]] | Mapping[str, Mapping[str, int]]
"""Positions in the log; partitions may be text, as JSON makes them."""

log_lines = logging.getLogger("thumbwheel.curator")


def freeze(
    store: Store,
    artifacts: ArtifactStore,
    home: Home,
    run_id: str,
    clock: Clock,
    sleep: Sleep,
    naming: Naming | None = None,
    window_s: float = Settings.feedback_window_s,
    embeds: Embedder | None = None,
) -> str:
    """Move the run on from `curating` and return its state; a run in another state stays as it is.

    `naming` finds names to redact; without it names stay. `embeds` says how near two rows are in meaning; without it,
    or where it does not answer, rows that say the same in other words stay. Feedback waits for its inference for
    `window_s`. Raises JobError where it cannot go on, StoreUnavailable.
    """
    with store.read() as tx:
        run = release_rows.get_run(tx, run_id)
        channel = release_rows.get_channel(tx, run.channel)
    if run.state != "curating":
        return run.state
    if not channel.policies.train:
        raise JobError(f"Channel {run.channel} does not permit training (its policy `train` is off).")
    _await_consumer(store, run, run.positions, clock, sleep)
    _await_stragglers(store, run, clock, sleep)
    if naming is not None:
        _find_names(store, run, naming, clock, sleep)

    def take(tx: Connection, by: By | None, off: str | None = NOT_CONFIGURED) -> Snapshot:
        # What it reads and how far the log was read then are of one transaction, and so are the policies.
        channel = release_rows.get_channel(tx, run.channel)
        return take_snapshot(
            tx,
            artifacts,
            channel,
            dataset_rows.learnt_from(tx, channel.stable),
            as_of_ms=clock(),
            window_ms=round(window_s * 1000),
            wants_new=run.release is None,
            names_by=None if naming is None else naming.finder.by,
            embeddings_by=by,
            embeddings_off=off,
        )

    by, off = _embed(store, run, embeds, take, clock, sleep)
    with store.read() as tx:
        snapshot = take(tx, by, off)
    _note(store, run, clock, "curating", 0, len(snapshot.rows))
    curation = curate(snapshot)
    if curation.shortfall:
        return _end(store, run_id, snapshot, curation, clock)
    _note(store, run, clock, "writing the dataset", 0, len(curation.examples))
    sha = publish(artifacts, home.runs / run_id / "dataset", curation)
    return _commit(store, run_id, snapshot, curation, sha, clock)


def publish(artifacts: ArtifactStore, scratch: Path, curation: Curation) -> str:
    """Write the dataset under `scratch`, publish it, and return its sha256. Raises ArtifactError, StoreUnavailable."""
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(mode=0o700, parents=True)
        (scratch / ROWS).write_bytes(curation.rows)
        (scratch / REASONS).write_bytes(reasons_of(curation.verdicts, curation.beside))
        (scratch / CARD).write_bytes(curation.card)
    except OSError as error:
        raise StoreUnavailable(f"the dataset cannot be written: {error.strerror}") from error
    return artifacts.publish(scratch, "dataset", {"rows": len(curation.examples)})


def _find_names(store: Store, run: Run, naming: Naming, clock: Clock, sleep: Sleep) -> None:
    record_names(
        store,
        run.channel,
        naming,
        clock,
        lambda done, of: _note(store, run, clock, "finding names", done, of),
        lambda positions: _await_consumer(store, run, positions, clock, sleep),
    )


def _embed(
    store: Store,
    run: Run,
    embeds: Embedder | None,
    take: Callable[[Connection, By | None], Snapshot],
    clock: Clock,
    sleep: Sleep,
) -> tuple[By | None, str | None]:
    """Who computed the vectors that are recorded, or why nobody did."""
    if embeds is None:
        return None, NOT_CONFIGURED
    return record_embeddings(
        store,
        take,
        embeds,
        clock,
        lambda done, of: _note(store, run, clock, "asking for embeddings", done, of),
        lambda positions: _await_consumer(store, run, positions, clock, sleep),
    )


def _await_consumer(store: Store, run: Run, wanted: Wanted, clock: Clock, sleep: Sleep) -> None:
    deadline, note_ms = clock() + int(CATCH_UP_S * 1000), clock()
    began: tuple[float, int] | None = None
    told: int | None = None
    while True:
        with store.read() as tx:
            done, of = data_rows.events_read(tx, wanted)
        if done == of:
            return
        if clock() >= note_ms and done != told:
            told = done
            began = began or (time.monotonic(), done)
            _note(store, run, clock, "waiting for the consumer", done, of, seconds_left(began, done, of))
            note_ms = clock() + NOTE_MS
        if clock() >= deadline:
            raise JobError(
                f"The consumer did not reach the run's events within {CATCH_UP_S:g} s. "
                "`thumbwheel doctor` says whether it lives; then start a new run."
            )
        sleep(POLL_S)


def _await_stragglers(store: Store, run: Run, clock: Clock, sleep: Sleep) -> None:
    deadline, note_ms = clock() + int(STRAGGLERS_S * 1000), clock()
    most = 0
    while clock() < deadline:
        with store.read() as tx:
            missing = dataset_rows.unseen_since(tx, run.channel, run.created_ms - RECENT_MS)
        if missing == 0:
            return
        if clock() >= note_ms:
            most = max(most, missing)
            _note(store, run, clock, "waiting for inferences", most - missing, most)
            note_ms = clock() + NOTE_MS
        sleep(POLL_S)


def _note(store: Store, run: Run, clock: Clock, step: str, done: int, of: int, eta_s: float | None = None) -> None:
    note(store, run.id, "curating", {"step": step, "done": done, "of": of, "eta_s": eta_s}, clock)


def _end(store: Store, run_id: str, snapshot: Snapshot, curation: Curation, clock: Clock) -> str:
    with store.write() as tx:
        run = release_rows.get_run(tx, run_id)
        if run.state != "curating":
            return run.state
        dataset_rows.rule(tx, _rulings(snapshot, curation, {USED: (WAITING, NO_RUN_YET)}))
        return finish_run(tx, run, "insufficient_evidence", curation.shortfall, None, clock(), "curator").state


def _commit(store: Store, run_id: str, snapshot: Snapshot, curation: Curation, sha: str, clock: Clock) -> str:
    with store.write() as tx:
        run = release_rows.get_run(tx, run_id)
        if run.state != "curating":
            return run.state
        examples = [
            ExampleRow(
                id_,
                example.proposal.source.feedback,
                example.proposal.source.inference,
                example.proposal.author,
                example.split,
                kind,
            )
            for id_, kind, example in curation.lines
        ]
        now_ms = clock()
        dataset_rows.insert_dataset(
            tx, sha, run.channel, run.id, json.loads(curation.card), examples, curation.new_splits, now_ms
        )
        dataset_rows.rule(tx, _rulings(snapshot, curation, {}))
        state = "training" if run.release is None else "evaluating"
        return advance_run(tx, run, state, now_ms, dataset=sha).state


def _rulings(snapshot: Snapshot, curation: Curation, instead: Mapping[str, tuple[str, str | None]]) -> list[Ruling]:
    """The verdicts that change where a feedback stands; `instead` replaces a state's verdict, in a row's window."""
    rulings = []
    for row in snapshot.rows:
        verdict = curation.verdicts[row.feedback]
        state, reason = given_up(*instead.get(verdict[0], verdict), row.at_ms, snapshot.closed_ms)
        if state != USED and (state, reason) != (row.state, row.reason):
            rulings.append(Ruling(row.feedback, row.at_ms, row.seq, (row.state, row.reason), state, reason))
    return rulings


def run(argv: list[str]) -> int:
    """The verb `curate`. Returns 0 once the run has moved on, 1 where it failed, 3 where it is to be tried later."""
    options = parser("curate")
    options.add_argument("run", help="the run's id")
    arguments = options.parse_args(argv)
    # By logging and not by print: a log file on a full disk must not end the job.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = settings_from(arguments)
    home = prepare(settings.home)
    models = models_of_names(settings)
    with closing(open_store(settings, home)) as store, ExitStack() as held:

        @cache
        def log() -> EventLog:
            return held.enter_context(closing(open_log(settings, home)))

        def naming() -> Naming | None:
            return Naming(finder(models), log()) if models else None

        def embeds() -> Embedder | None:
            return None if settings.embeddings is None else embedder(settings, log())

        window_s = settings.feedback_window_s
        return _job(store, home, str(arguments.run), system_clock, time.sleep, naming, window_s, embeds)


def _job(
    store: Store,
    home: Home,
    run_id: str,
    clock: Clock,
    sleep: Sleep,
    make_naming: Callable[[], Naming | None] = lambda: None,
    window_s: float = Settings.feedback_window_s,
    make_embedder: Callable[[], Embedder | None] = lambda: None,
) -> int:
    artifacts = ArtifactStore(home.artifacts)
    naming = embeds = None
    attempt = 0
    while True:
        attempt += 1
        try:
            naming, embeds = naming or make_naming(), embeds or make_embedder()
            state = freeze(store, artifacts, home, run_id, clock, sleep, naming, window_s, embeds)
            log_lines.info("run %s: %s", run_id, state)
            return 0
        except (JobError, ArtifactError) as error:
            with store.write() as tx:
                current = release_rows.get_run(tx, run_id)
                if current.state == "curating":
                    finish_run(tx, current, "failed", (str(error),), None, clock(), "curator")
            log_lines.error("run %s: %s", run_id, error)
            return 1
        except (StoreUnavailable, LostRace) as error:
            log_lines.warning("run %s: to be tried again: %s", run_id, error)
            if attempt == TRIES:
                return AGAIN
            sleep(TRY_S * attempt)
