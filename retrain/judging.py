"""The evaluation step: an engine is borrowed and asked, the gate judges, the report is published, the run ends.

What to ask is decided in retrain/evaluate.py, what it shows in retrain/evidence.py, the verdict in retrain/gate.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retrain import base_answers, evidence, gate_config, general, report, rows
from retrain import evaluate as evaluation
from retrain.engine_client import EngineClient, Notebook
from retrain.gate import FAIL, INSUFFICIENT, PASS, Thresholds, gate
from retrain.job import Job, Moved, base_of, path, required
from thumbwheel.dataset_files import ROWS
from thumbwheel.errors import EngineUnreachable, LostRace
from thumbwheel.pools import LEASE_MS, Lease, holder, lend_engine
from thumbwheel.progress import seconds_left
from thumbwheel.records import Channel, Release, Run
from thumbwheel.rollouts import finish_run
from thumbwheel.scorers import parse_scorer
from thumbwheel.store import fleet_rows, release_rows

PROGRESS_S = 1.0
STATES = {PASS: "candidate", FAIL: "rejected", INSUFFICIENT: "insufficient_evidence"}


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
    thresholds, how = gate_config.read_config(path(job.settings.gate_config))
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
        draft = release_rows.get_release(tx, required(run.release, "release"))
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
        finish_run(tx, run, STATES[verdict.result], verdict.reasons, sha, job.clock(), job.who)
    return True


def _measured(job: Job, judged: Judged, thresholds: Thresholds, how: gate_config.Measure) -> report.Findings:
    started = time.monotonic()
    fingerprint = base_of(job.settings).fingerprint
    prompts, prompts_sha = general.read_prompts(path(job.settings.general_prompts) or general.SHIPPED)
    dataset = job.artifacts.path(required(judged.run.dataset, "dataset"))
    held = rows.read_rows(dataset, rows.SPLITS)
    since = _since(dataset)
    asked = evaluation.plan([(row, since.get(row.id)) for row in held], _known(job, judged.incumbent), prompts, how)
    scorers = [parse_scorer(raw) for raw in judged.channel.policies.scorers]
    base_notebook = base_answers.open_notebook(job, prompts_sha)
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
            dataset=required(judged.run.dataset, "dataset"),
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
        kinds=rows.kinds(dataset),
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
            job.note({"step": "evaluating", "done": done, "of": of, "eta_s": seconds_left(began, done, of)})
            with job.store.write() as tx:
                fleet_rows.take_lease(tx, f"engine:{lease.engine.id}", lease.holder, job.clock(), LEASE_MS)

        releases = evaluation.Releases(required(judged.draft.served_name, "adapter"), judged.incumbent.served_name)
        async with EngineClient(lambda: job.whereabouts(lease.engine), how.concurrency, how.outage_s) as client:
            found = await evaluation.measure(client, asked, releases, how, notebook, base_notebook, progress)
            return found, client.asked


@contextmanager
def _lent(job: Job, pool: str, outage_s: float) -> Iterator[Lease]:
    """An engine, waited for while none is ready (`outage_s`) or another evaluation has it (as long as a lease)."""
    started = time.monotonic()
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(lend_engine(job.store, job.clock, pool, holder("evaluate", job.id)))
                break
            except (EngineUnreachable, LostRace) as error:
                patience_s = outage_s if isinstance(error, EngineUnreachable) else LEASE_MS / 1000 + outage_s
                if time.monotonic() - started > patience_s:
                    raise
            job.note({"step": "waiting for an engine", "done": 0, "of": None, "eta_s": None})
            time.sleep(PROGRESS_S)
        yield lease


def _known(job: Job, incumbent: Release) -> frozenset[str]:
    """The datasets that the incumbent learnt from: its run's own, and those in which that one's rows first appeared."""
    if incumbent.run is None:
        return frozenset()
    with job.store.read() as tx:
        dataset = required(release_rows.get_run(tx, incumbent.run).dataset, "dataset")
    return frozenset({dataset, *filter(None, _since(job.artifacts.path(dataset)).values())})


def _since(dataset: Path) -> dict[str, str | None]:
    """By row, the dataset in which it first appeared; None is this one."""
    with (dataset / ROWS).open(encoding="utf-8") as lines:
        held = [json.loads(line) for line in lines if line.strip()]
    return {str(row["id"]): row.get("since") for row in held}


def _training(job: Job, draft: Release) -> Mapping[str, Any] | None:
    """What the recipe wrote of itself, if it did."""
    file = job.artifacts.path(required(draft.adapter, "adapter")) / "training.json"
    if not file.is_file():
        return None
    content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
