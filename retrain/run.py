"""The jobs of a run: `thumbwheel train RUN` makes a draft release, `thumbwheel evaluate RUN` judges it.

    thumbwheel train RUN [--home DIR]        training -> evaluating, or failed
    thumbwheel evaluate RUN [--home DIR]     evaluating -> candidate, rejected or insufficient_evidence, or failed

The controller starts them as children. Each moves its run by one compare-and-set and may be killed and started again
at any time: what was done lies in `<home>/runs/RUN`. Exit status: 0 when there is nothing left for this step to do, 1
where the run failed and says why, 3 where it may be tried again (the engine is away).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retrain import evaluate as evaluation
from retrain import evidence, gate_config, general, report, rows
from retrain.engine_client import EngineClient, Notebook
from retrain.gate import FAIL, INSUFFICIENT, PASS, gate
from thumbwheel import cli
from thumbwheel.adapter import BaseModules, base_modules, check_adapter, write_origin
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import Clock, system_clock
from thumbwheel.errors import AdapterRefused, ArtifactError, EngineUnreachable, JobError, LostRace, StoreUnavailable
from thumbwheel.home import Home
from thumbwheel.ids import new_id
from thumbwheel.pools import LEASE_MS, Lease, lend_engine
from thumbwheel.records import Channel, Engine, Release, Run
from thumbwheel.rollouts import finish_run
from thumbwheel.scorers import parse_scorer
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store, open_store

DONE, FAILED, AGAIN = 0, 1, 3
POLL_S = 0.5
PROGRESS_S = 1.0
POOL = "default"
BASE_ANSWERS = 1  # raised when the base's answers to general prompts are asked for differently
STATES = {PASS: "candidate", FAIL: "rejected", INSUFFICIENT: "insufficient_evidence"}
PR_SET_PDEATHSIG = 1


class Moved(Exception):
    """The run is no longer in this job's state: somebody else ended it, and nothing is left to do."""


@dataclass(frozen=True)
class Job:
    """One attempt at one step of the run `id`; `state` is the run's while this step is at work."""

    id: str
    state: str
    settings: Settings
    home: Home
    store: Store
    artifacts: ArtifactStore
    clock: Clock

    @property
    def folder(self) -> Path:
        """The run's own 0700 folder."""
        return self.home.runs / self.id

    def run(self) -> Run:
        """The run's row. Raises Moved where it is past this step."""
        with self.store.read() as tx:
            run = release_rows.get_run(tx, self.id)
        if run.state != self.state:
            raise Moved
        return run

    def note(self, progress: Mapping[str, object]) -> None:
        """Put `progress` into the run's row. Raises Moved."""
        try:
            with self.store.write() as tx:
                run = release_rows.get_run(tx, self.id)
                if run.state != self.state:
                    raise Moved
                release_rows.save_run(tx, replace(run, progress=dict(progress), updated_ms=self.clock()))
        except (
            StoreUnavailable
        ) as error:  # progress is a courtesy; the work goes on, and its end needs the store anyway
            print(f"{self.id}: progress was not noted: {error}", file=sys.stderr)

    def fail(self, reason: str) -> None:
        """End the run as failed, unless somebody else has ended it."""
        now_ms = self.clock()
        with self.store.write() as tx:
            run = release_rows.get_run(tx, self.id)
            if run.state == self.state:
                release_rows.save_run(tx, replace(run, state="failed", reasons=(reason,), updated_ms=now_ms))
                fleet_rows.record(
                    tx, now_ms, run_worker(self), "fail_run", run.id, {"state": run.state}, {"why": reason}
                )


def run_worker(job: Job) -> str:
    """Who the audit trail says it was."""
    return {"training": "trainer", "evaluating": "evaluator"}[job.state]


def train(argv: list[str]) -> int:
    """The verb `train`; see the module's docstring."""
    return _run(argv, "train", "training", train_run)


def evaluate(argv: list[str]) -> int:
    """The verb `evaluate`; see the module's docstring."""
    return _run(argv, "evaluate", "evaluating", evaluate_run)


def _run(argv: list[str], verb: str, state: str, step: Any) -> int:
    parser = cli.parser(verb, f"Do the step `{state}` of a run. The controller starts this; it may be repeated.")
    parser.add_argument("run", metavar="RUN")
    arguments: argparse.Namespace = parser.parse_args(argv)
    settings = cli.settings_from(arguments)
    home = Home(settings.home)
    job = Job(arguments.run, state, settings, home, open_store(home.store), ArtifactStore(home.artifacts), system_clock)
    try:
        step(job)
    except Moved:
        print(f"{job.id}: nothing to do, the run is not {state}")
    except (JobError, ArtifactError) as error:
        reason = f"{error.reason}: {error}" if isinstance(error, AdapterRefused) else str(error)
        job.fail(reason)
        print(f"{job.id}: failed: {reason}", file=sys.stderr)
        return FAILED
    except (EngineUnreachable, LostRace) as error:
        print(f"{job.id}: to be tried again: {error}", file=sys.stderr)
        return AGAIN
    finally:
        job.store.close()
    return DONE


# Training.


def train_run(job: Job) -> None:
    """Run the recipe, check and publish its adapter, and hand the run on. Raises JobError, ArtifactError, Moved."""
    run = job.run()
    base = _base(job.settings)
    dataset = job.artifacts.path(_required(run.dataset, "dataset"))
    job.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    job.folder.chmod(0o700)
    out = job.folder / "adapter"
    if not (out / "training.json").is_file():  # the recipe writes it last
        _run_recipe(job, dataset, out)
    write_origin(out, base)
    check_adapter(out, base, job.settings.max_lora_rank)
    adapter = job.artifacts.publish(out, "adapter", {"run": run.id, "dataset": run.dataset, "base": base.fingerprint})
    _hand_on(job, adapter)


def _hand_on(job: Job, adapter: str) -> None:
    """Insert the draft and move the run to evaluating, in one transaction."""
    now_ms = job.clock()
    with job.store.write() as tx:
        run = release_rows.get_run(tx, job.id)
        if run.state != job.state:
            raise Moved
        channel = release_rows.get_channel(tx, run.channel)
        incumbent = release_rows.get_release(tx, channel.stable)
        release = Release(
            id=new_id("rel", now_ms),
            channel=channel.name,
            state="draft",
            pool=POOL,
            base=incumbent.base,
            adapter=adapter,
            run=run.id,
            parent=incumbent.id,
            report=None,
            reason=None,
            created_ms=now_ms,
            version=1,
        )
        release_rows.insert_release(tx, release)
        moved = replace(run, state="evaluating", release=release.id, attempts=0, progress={}, updated_ms=now_ms)
        release_rows.save_run(tx, moved)
        fleet_rows.record(tx, now_ms, run_worker(job), "train", run.id, {"state": run.state}, {"release": release.id})


def _run_recipe(job: Job, dataset: Path, out: Path) -> None:
    """The recipe as a child that dies with this process. Raises JobError with what it said, Moved."""
    work = job.folder / "training"
    command = [
        sys.executable,
        "-m",
        job.settings.recipe,
        "--dataset",
        str(dataset),
        "--model",
        str(_model(job.settings)),
    ]
    command += ["--out", str(out), "--work", str(work)]
    if job.settings.recipe_config is not None:
        command += ["--config", str(Path(job.settings.recipe_config).resolve())]
    errors = job.folder / "recipe.err"
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.settings.train_threads), "HF_HUB_OFFLINE": "1"}
    mine = os.getpid()
    with errors.open("wb") as stderr, (job.folder / "recipe.log").open("ab") as stdout:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            preexec_fn=lambda: _die_with_parent(mine),
        )
        try:
            _watch(job, child, work / "progress.json")
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode < 0:
        raise EngineUnreachable(f"the recipe was ended by signal {-child.returncode}; it goes on at the next start")
    if child.returncode:
        raise JobError(f"Training failed: {_last_words(errors)}")


def _watch(job: Job, child: subprocess.Popen[bytes], file: Path) -> None:
    """Copy the recipe's progress into the run's row until it ends. Raises Moved."""
    seen: dict[str, Any] = {}
    began = (time.monotonic(), 0)
    while child.poll() is None:
        time.sleep(POLL_S)
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        if held == seen:
            continue
        if held.get("stage") != seen.get("stage"):
            began = (time.monotonic(), held.get("step") or 0)
        seen = held
        done, of = held.get("step"), held.get("steps")
        figures = {key: held.get(key) for key in ("epoch", "loss", "kl", "validation_loss", "rows_per_s")}
        job.note({"step": held.get("stage"), "done": done, "of": of, "eta_s": _eta(began, done, of), **figures})


def _eta(began: tuple[float, int], done: int | None, of: int | None) -> float | None:
    """Seconds left at the pace since `began`, a time and what was done by then."""
    if not done or not of or done <= began[1]:
        return None
    return round((time.monotonic() - began[0]) / (done - began[1]) * (of - done), 1)


def _last_words(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[:500]


def _die_with_parent(parent: int) -> None:
    """In the child: be killed when the job is, as a checkpoint's writer must not outlive it beside its successor."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# Evaluation.


@dataclass(frozen=True)
class Judged:
    """The rows that an evaluation starts from."""

    run: Run
    channel: Channel
    draft: Release
    incumbent: Release


def evaluate_run(job: Job) -> None:
    """Measure, judge, report, and end the run. Raises JobError, ArtifactError, EngineUnreachable, LostRace, Moved.

    Where the channel's stable release changes meanwhile, the draft is judged anew beside the new one: what it
    answered is noted, so only the incumbent is asked again.
    """
    thresholds, how = gate_config.read_config(_path(job.settings.gate_config))
    while True:
        judged = _judged(job)
        directory = job.folder / "report"
        findings = _measured(job, judged, thresholds, how)
        report.write(directory, findings)
        meta = {"run": job.id, "release": judged.draft.id, "verdict": findings.verdict.result}
        sha = job.artifacts.publish(directory, "report", meta)
        if _finish(job, judged, findings, sha):
            return


def _judged(job: Job) -> Judged:
    """The draft beside what is stable now."""
    run = job.run()
    with job.store.write() as tx:
        draft = release_rows.get_release(tx, _required(run.release, "release"))
        channel = release_rows.get_channel(tx, run.channel)
        if draft.parent != channel.stable:
            draft = release_rows.save_release(tx, replace(draft, parent=channel.stable))
        return Judged(run, channel, draft, release_rows.get_release(tx, channel.stable))


def _finish(job: Job, judged: Judged, findings: report.Findings, sha: str) -> bool:
    """End the run; False where the channel's stable release is another by now."""
    verdict = findings.verdict
    with job.store.write() as tx:
        run = release_rows.get_run(tx, job.id)
        if run.state != job.state:
            raise Moved
        if release_rows.get_channel(tx, run.channel).stable != judged.incumbent.id:
            return False
        finish_run(tx, run, STATES[verdict.result], verdict.reasons, sha, job.clock(), run_worker(job))
    return True


def _measured(
    job: Job, judged: Judged, thresholds: gate_config.Thresholds, how: gate_config.Measure
) -> report.Findings:
    started = time.monotonic()
    fingerprint = _base(job.settings).fingerprint
    prompts, prompts_sha = general.read_prompts(_path(job.settings.general_prompts) or general.SHIPPED)
    dataset = job.artifacts.path(_required(judged.run.dataset, "dataset"))
    held = rows.read_rows(dataset, rows.SPLITS)
    since = _since(dataset)
    asked = evaluation.plan([(row, since.get(row.id)) for row in held], _known(job, judged.incumbent), prompts, how)
    scorers = [parse_scorer(raw) for raw in judged.channel.policies.scorers]
    key = hashlib.sha256(f"{BASE_ANSWERS} {fingerprint} {prompts_sha}".encode()).hexdigest()[:32]
    base_notebook = Notebook(job.home.root / "cache" / f"general-{key}.jsonl")
    notebook = Notebook(job.folder / "evaluation" / "answers.jsonl")
    try:
        found, requests = asyncio.run(_ask(job, judged, asked, how, notebook, base_notebook))
    finally:
        notebook.close()
        base_notebook.close()
    completions = [row.completion for row in held]
    weighed = evidence.weigh(asked, found, scorers, completions, thresholds)
    marks = general.form_marks(scorers, completions)
    return report.Findings(
        subject=report.Subject(
            run=judged.run.id,
            channel=judged.channel.name,
            release=judged.draft.id,
            adapter=judged.draft.adapter,
            incumbent=judged.incumbent.id,
            incumbent_adapter=judged.incumbent.adapter,
            dataset=_required(judged.run.dataset, "dataset"),
            base=fingerprint,
            general_prompts=prompts_sha,
            at_ms=job.clock(),
            seconds=round(time.monotonic() - started, 1),
            requests=requests,
        ),
        asked=asked,
        found=found,
        evidence=weighed,
        scores=evidence.scores(found.tests, scorers, thresholds.confidence),
        general=evidence.general_table(found.general, marks, thresholds.specific_share) if found.general else None,
        verdict=gate(weighed, thresholds),
        thresholds=thresholds,
        how=how,
        training=_training(job, judged.draft),
    )


async def _ask(
    job: Job,
    judged: Judged,
    asked: evaluation.Plan,
    how: gate_config.Measure,
    notebook: Notebook,
    base_notebook: Notebook,
) -> tuple[evaluation.Measurements, int]:
    """Borrow an engine and ask it; the run's row says how far it is."""
    with _lent(job, judged.draft.pool, how.outage_s) as lease:
        began, noted = (time.monotonic(), 0), 0.0

        def progress(done: int, of: int) -> None:
            nonlocal noted
            if time.monotonic() - noted < PROGRESS_S and done < of:
                return
            noted = time.monotonic()
            job.note({"step": "evaluating", "done": done, "of": of, "eta_s": _eta(began, done, of)})
            with job.store.write() as tx:
                fleet_rows.take_lease(tx, f"engine:{lease.engine.id}", lease.holder, job.clock(), LEASE_MS)

        releases = evaluation.Releases(_required(judged.draft.served_name, "adapter"), judged.incumbent.served_name)
        async with EngineClient(lambda: _engine(job, lease.engine), how.concurrency, how.outage_s) as client:
            found = await evaluation.measure(client, asked, releases, how, notebook, base_notebook, progress)
            return found, client.asked


@contextmanager
def _lent(job: Job, pool: str, outage_s: float) -> Iterator[Lease]:
    """An engine, waited for while none is ready (`outage_s`) or another evaluation has it (as long as a lease)."""
    started = time.monotonic()
    while True:
        waited = time.monotonic() - started
        try:
            lending = lend_engine(job.store, job.clock, pool, f"evaluate:{job.id}")
            lease = lending.__enter__()
            break
        except (EngineUnreachable, LostRace) as error:
            limit = outage_s if isinstance(error, EngineUnreachable) else LEASE_MS / 1000 + outage_s
            if waited > limit:
                raise
        job.note({"step": "waiting for an engine", "done": 0, "of": None, "eta_s": None})
        time.sleep(PROGRESS_S)
    try:
        yield lease
    finally:
        lending.__exit__(None, None, None)


def _engine(job: Job, lent: Engine) -> Engine | None:
    """Where the lent engine is now: it may have been started again."""
    with job.store.read() as tx:
        found = [engine for engine in fleet_rows.all_engines(tx) if engine.id == lent.id and engine.state == "ready"]
    return found[0] if found else None


def _known(job: Job, incumbent: Release) -> frozenset[str]:
    """The datasets that the incumbent learnt from: its run's own, and those in which that one's rows first appeared."""
    if incumbent.run is None:
        return frozenset()
    with job.store.read() as tx:
        dataset = _required(release_rows.get_run(tx, incumbent.run).dataset, "dataset")
    return frozenset({dataset, *filter(None, _since(job.artifacts.path(dataset)).values())})


def _since(dataset: Path) -> dict[str, str | None]:
    """By row, the dataset in which it first appeared; None is this one."""
    with (dataset / rows.ROWS).open(encoding="utf-8") as lines:
        held = [json.loads(line) for line in lines if line.strip()]
    return {str(row["id"]): row.get("since") for row in held}


def _training(job: Job, draft: Release) -> Mapping[str, Any] | None:
    """What the recipe wrote of itself, if it did."""
    file = job.artifacts.path(_required(draft.adapter, "adapter")) / "training.json"
    if not file.is_file():
        return None
    content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _base(settings: Settings) -> BaseModules:
    return base_modules(_model(settings))


def _model(settings: Settings) -> Path:
    """The base's checkpoint. Raises JobError where the weights are not here."""
    if settings.upstream is not None:
        raise JobError("An upstream server's weights are not here: nothing can be trained on them, or judged.")
    directory = Path(settings.model)
    if not (directory / "config.json").is_file():
        raise JobError("The setting `model` names no checkpoint; point it at a directory with one.")
    return directory.resolve()


def _path(setting: str | None) -> Path | None:
    return None if setting is None else Path(setting)


def _required(value: str | None, what: str) -> str:
    if value is None:
        raise JobError(f"The run has no {what}; its earlier steps did not finish.")
    return value
