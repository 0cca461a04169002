"""What one gateway worker is made of, as handed to its routes; put together in `serving.app` alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.auth import bearer, find_key, refusal
from serving.feedback_log import FeedbackLog
from serving.inference_log import InferenceLog
from serving.limits import InFlight
from serving.metrics import Metrics
from serving.proofs import Proofs
from serving.siblings import Siblings
from serving.snapshot import Snapshot, Watch
from serving.upstream import Upstream
from thumbwheel.clock import Clock
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.home import Home
from thumbwheel.records import Key
from thumbwheel.settings import Settings
from thumbwheel.store.connection import Store


@dataclass(frozen=True)
class Parts:
    """Two handles on one database: `store` waits up to 5 s for a locked file, `urgent` 0.4 s."""

    settings: Settings
    home: Home
    clock: Clock
    secret: bytes
    store: Store
    urgent: Store
    read_log: Callable[[], EventLog]  # raises StoreUnavailable while the log is away
    feedback_log: FeedbackLog
    watch: Watch
    upstream: Upstream
    proofs: Proofs
    inference_log: InferenceLog
    in_flight: InFlight
    metrics: Metrics
    siblings: Siblings


def picture(parts: Parts) -> Snapshot:
    """The latest picture of the service. Raises StoreUnavailable while there is none."""
    if parts.watch.now.generation < 0:
        raise StoreUnavailable("nothing has been read of it since this worker started")
    return parts.watch.now


async def authenticate(parts: Parts, authorization: str | None, kind: str) -> Key:
    """The key that asks. A key made a moment ago is known after one look at the store.

    Raises Unauthenticated; StoreUnavailable while nothing was read yet: a worker that starts just then knows no key.
    """
    key = find_key(parts.watch.now.keys, authorization, kind)
    if key is None and bearer(authorization) is not None:
        await parts.watch.refresh()
        key = find_key(picture(parts).keys, authorization, kind)
    if key is None:
        raise refusal(authorization, kind)
    return key
