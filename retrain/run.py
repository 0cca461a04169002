"""The jobs of a run: `thumbwheel train RUN` makes a draft release, `thumbwheel evaluate RUN` judges it.

    thumbwheel train RUN [--home DIR]        training -> evaluating, or failed
    thumbwheel evaluate RUN [--home DIR]     evaluating -> candidate, rejected or insufficient_evidence, or failed

The controller starts them as children. Each moves its run by one compare-and-set and may be killed and started again
at any time: what was done lies in `<home>/runs/RUN`. Exit status: 0 when there is nothing left for this step to do, 1
where the run failed and says why, or the recipe was killed, 3 where the engine or the store is away, or the disk is
full, and no attempt is spent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from retrain.job import Ended, Job, Moved
from retrain.judging import evaluate_run
from retrain.training import train_run
from thumbwheel import cli
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import system_clock
from thumbwheel.errors import (
    AdapterRefused,
    ArtifactError,
    EngineUnreachable,
    JobError,
    LostRace,
    SettingsError,
    StoreUnavailable,
)
from thumbwheel.home import Home
from thumbwheel.progress import AGAIN
from thumbwheel.store.connection import open_store

DONE, FAILED = 0, 1

log = logging.getLogger("thumbwheel.jobs")


def train(argv: list[str]) -> int:
    """The verb `train`; see the module's docstring."""
    return _run(argv, "train", "training", train_run)


def evaluate(argv: list[str]) -> int:
    """The verb `evaluate`; see the module's docstring."""
    return _run(argv, "evaluate", "evaluating", evaluate_run)


def _run(argv: list[str], verb: str, state: str, step: Callable[[Job], None]) -> int:
    parser = cli.parser(verb)
    parser.add_argument("run", metavar="RUN")
    arguments = parser.parse_args(argv)
    settings = cli.settings_from(arguments)
    # By logging and not by print: a log file on a full disk must not end the job with another status.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = Home(settings.home)
    store = open_store(settings, home)
    job = Job(arguments.run, state, settings, home, store, ArtifactStore(home.artifacts), system_clock)
    try:
        step(job)
    except Moved:
        log.info("%s: nothing to do, the run is not %s", job.id, state)
    except Ended as error:
        log.error("%s: %s", job.id, error)
        return FAILED
    except (JobError, ArtifactError, SettingsError) as error:
        reason = f"{error.reason}: {error}" if isinstance(error, AdapterRefused) else str(error)
        job.fail(reason)
        log.error("%s: failed: %s", job.id, reason)
        return FAILED
    except (EngineUnreachable, LostRace, StoreUnavailable) as error:
        log.warning("%s: to be tried again: %s", job.id, error)
        return AGAIN
    finally:
        job.store.close()
    return DONE
