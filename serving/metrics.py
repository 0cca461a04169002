"""What Prometheus is told: counted here as requests end, and read from the store when a scrape asks.

One scrape shows the whole gateway: the worker that it reaches adds what its siblings tell (`serving.siblings`). Each
worker's series bear its name, so none of them ever falls; `sum without (worker)` joins them. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from serving.inference_log import InferenceLog
from serving.limits import InFlight
from thumbwheel.errors import StoreUnavailable
from thumbwheel.events import InferenceEvent
from thumbwheel.records import ROLLOUT_STATES, RUN_STATES
from thumbwheel.store import data_rows, dead_letter_rows, release_rows
from thumbwheel.store.connection import Store

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
TOKEN_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LABELS = ("worker", "channel", "release", "variant")


class Metrics:
    """One worker's figures. `release` and `variant` are those a request was assigned to."""

    def __init__(self, worker: str, store: Store, inference_log: InferenceLog, in_flight: InFlight) -> None:
        self._registry = CollectorRegistry()
        self._store = StoreFigures(store)
        self._worker = worker
        counter, histogram = self._counter, self._histogram
        self._requests = counter("requests", "Requests, by how they ended", "status")
        self._retried = counter("retried_on_stable", "Requests of a candidate that the stable release answered")
        self._prompt = counter("prompt_tokens", "Tokens of prompts")
        self._completion = counter("completion_tokens", "Tokens of answers")
        self._ttft = histogram("time_to_first_token_seconds", "Streams, to their first token", BUCKETS_S)
        self._tpot = histogram("time_per_output_token_seconds", "Streams, after the first token", TOKEN_BUCKETS_S)
        self._e2e = histogram("end_to_end_seconds", "Whole answers", BUCKETS_S)
        for name, text, read in (
            ("in_flight", "Requests under way", lambda: in_flight.total),
            ("log_queue_depth", "Inferences in memory that the log has not got", lambda: inference_log.queued),
            ("log_spool_bytes", "Bytes on disk that the log has not got", lambda: inference_log.spooled),
            ("log_dropped", "Inferences that fitted nowhere, since this worker started", lambda: inference_log.dropped),
        ):
            gauge = Gauge(f"thumbwheel_{name}", text, ("worker",), registry=self._registry)
            gauge.labels(worker).set_function(read)

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(f"thumbwheel_{name}", text, (*LABELS, *more), registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"thumbwheel_{name}", text, LABELS, buckets=buckets, registry=self._registry)

    def count(self, event: InferenceEvent) -> None:
        """A request has ended."""
        labels = (self._worker, event.channel, event.assigned, event.role)
        self._requests.labels(*labels, event.status).inc()
        if event.served_by != event.assigned:
            self._retried.labels(*labels).inc()
        self._prompt.labels(*labels).inc(event.prompt_tokens or 0)
        self._completion.labels(*labels).inc(event.completion_tokens or 0)
        if event.status not in ("ok", "release_error") or event.e2e_ms is None:
            return
        self._e2e.labels(*labels).observe(event.e2e_ms / 1e3)
        if event.ttft_ms is not None:
            self._ttft.labels(*labels).observe(event.ttft_ms / 1e3)
            if (event.completion_tokens or 0) > 1:
                rest = (event.e2e_ms - event.ttft_ms) / ((event.completion_tokens or 0) - 1)
                self._tpot.labels(*labels).observe(rest / 1e3)

    def own(self) -> bytes:
        """This worker's part of a scrape."""
        return generate_latest(self._registry)

    def exposition(self, siblings: Sequence[bytes]) -> bytes:
        """The text that a scrape gets: this worker's part, the others', and what the store says, once."""
        return generate_latest(_Joined([self.own(), *siblings])) + generate_latest(self._store)


class _Joined(Collector):
    """Several workers' texts as one: each family once, with everybody's samples."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        """The families, in the order of their first mention."""
        found: dict[str, Metric] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text.decode()):
                found.setdefault(family.name, family)
                if found[family.name] is not family:
                    found[family.name].samples += family.samples
        return found.values()


class StoreFigures(Collector):
    """Ledger, runs, rollouts, weights and thumbs as the store holds them at the moment of the scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        """The figures; only `thumbwheel_store_up 0` while the store is away."""
        try:
            with self._store.read() as tx:
                found = [*_by_channel(tx), _thumbs(tx), _dead_letters(tx)]
        except StoreUnavailable:
            found = []
        up = GaugeMetricFamily("thumbwheel_store_up", "Whether the store could be read")
        up.add_metric((), 1.0 if found else 0.0)
        return [up, *found]


def _by_channel(tx: Connection) -> list[Metric]:
    ledger = GaugeMetricFamily("thumbwheel_ledger", "Feedback by state", labels=("channel", "state", "reason"))
    runs = GaugeMetricFamily("thumbwheel_runs", "Runs by state", labels=("channel", "state"))
    rollouts = GaugeMetricFamily(
        "thumbwheel_rollout", "1 for the state of the channel's latest rollout", labels=("channel", "rollout", "state")
    )
    weights = GaugeMetricFamily(
        "thumbwheel_weight_percent", "The routing table", labels=("channel", "release", "variant")
    )
    for channel in release_rows.all_channels(tx):
        held = data_rows.ledger(tx, channel.name)
        ledger.add_metric((channel.name, "used", ""), held["used"])
        for state in ("refused", "waiting"):
            for reason, count in held[state].items():
                ledger.add_metric((channel.name, state, str(reason)), count)
        counts = dict.fromkeys(RUN_STATES, 0)
        for run in release_rows.runs_of(tx, channel.name):
            counts[run.state] += 1
        for state, count in counts.items():
            runs.add_metric((channel.name, state), count)
        latest = release_rows.rollout_of(tx, channel)
        if latest is not None:
            for state in ROLLOUT_STATES:
                rollouts.add_metric((channel.name, latest.id, state), float(state == latest.state))
        for row in channel.table:
            weights.add_metric((channel.name, row["release"], row["role"]), row["weight"])
    return [ledger, runs, rollouts, weights]


def _thumbs(tx: Connection) -> Metric:
    family = CounterMetricFamily(
        "thumbwheel_thumbs", "Thumbs received", labels=("channel", "release", "variant", "thumb")
    )
    for labels, count in data_rows.thumb_counts(tx).items():
        family.add_metric(labels, count)
    return family


def _dead_letters(tx: Connection) -> Metric:
    family = GaugeMetricFamily("thumbwheel_dead_letters", "Records that could not be handled")
    family.add_metric((), dead_letter_rows.count(tx))
    return family
