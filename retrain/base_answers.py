"""What the base says to the general prompts: the same for every run, so asked once in a home, and in good time.

The answers are kept in `<home>/cache`. A run asks for them while its recipe trains, when the engine has little else to
do; what is missing by then is left to its evaluation, which asks the same and reports what is wrong. Nothing is known
here of what the answers are for (see retrain/evaluate.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from retrain import evaluate, gate_config, general
from retrain.engine_client import EngineClient, Notebook
from retrain.job import Job, base_of, path
from thumbwheel.errors import ClientRejected, ThumbwheelError
from thumbwheel.pools import holder, lend_engine

FORMAT = 1  # raised when they are asked for differently
AWAY_S = 10.0  # an engine that is away longer is not waited for
log = logging.getLogger("thumbwheel.base_answers")


def open_notebook(job: Job, prompts_sha: str) -> Notebook:
    """The home's notebook of what its base says to the general prompts whose file has this SHA-256."""
    fingerprint = base_of(job.settings).fingerprint
    key = hashlib.sha256(f"{FORMAT} {fingerprint} {prompts_sha}".encode()).hexdigest()[:32]
    return Notebook(job.home.root / "cache" / f"general-{key}.jsonl")


@contextmanager
def asked_meanwhile(job: Job, pool: str) -> Iterator[None]:
    """Ask for the answers in a thread while the block runs; when it ends, requests under way are waited for."""
    stop = threading.Event()
    thread = threading.Thread(target=_ask, args=(job, pool, stop.is_set), name="base-answers")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _ask(job: Job, pool: str, stopped: Callable[[], bool]) -> None:
    try:
        how = gate_config.read_config(path(job.settings.gate_config))[1]
        prompts, prompts_sha = general.read_prompts(path(job.settings.general_prompts) or general.SHIPPED)
        notebook = open_notebook(job, prompts_sha)
        try:
            with lend_engine(job.store, job.clock, pool, holder("train", job.id)) as lease:
                client = EngineClient(lambda: job.whereabouts(lease.engine), how.concurrency, AWAY_S)
                asyncio.run(_ask_all(client, notebook, prompts, how, stopped))
        finally:
            notebook.close()
    except ThumbwheelError as error:  # whatever it is, the evaluation meets it again, and says so in the run
        log.warning("%s: the base's answers are left to the evaluation: %s", job.id, error)


async def _ask_all(
    client: EngineClient,
    notebook: Notebook,
    prompts: Sequence[general.Prompt],
    how: gate_config.Measure,
    stopped: Callable[[], bool],
) -> None:
    async def ask(waiting: Iterator[general.Prompt]) -> None:
        for prompt in waiting:
            if stopped():
                return
            try:
                said = await evaluate.base_says(client, notebook, prompt, how)
                if said.text.strip():
                    await evaluate.base_positions(client, notebook, prompt, said)
            except ClientRejected:
                continue  # too long for this engine: the evaluation counts it

    waiting = iter(prompts)
    async with client:
        await asyncio.gather(*(ask(waiting) for _ in range(how.concurrency)))
