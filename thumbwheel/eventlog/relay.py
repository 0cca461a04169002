"""The relay: the one process of a machine that speaks with Kafka for its gateways.

    thumbwheel relay [--home DIR]

A Kafka client's send costs more CPU than a whole request of the gateway, and blocks while a broker hangs; so the client
is here, and gateways hand over batches on a Unix socket (thumbwheel/eventlog/frames.py) from threads that no request
waits for. An append is answered when the broker has acknowledged it, or with its failure, within seconds. The relay
keeps nothing: what is not acknowledged is the gateway's to spool or to refuse, so it may be killed at any time.

What it can be made to hold is bounded: `MOST_CONNECTIONS`, and on each of them one frame at a time. It knows nothing of
events. Who may open its socket's folder (0700) may write and read everything.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path

import msgspec

from thumbwheel.cli import parser, settings_from
from thumbwheel.errors import SettingsError, StoreUnavailable
from thumbwheel.eventlog import EventLog, frames
from thumbwheel.eventlog.frames import Append, Bounds, Done, Failed, Offsets, Places, Read, Records, Reply, Request
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import prepare, short_path
from thumbwheel.stopping import stop_on_signals

MOST_CONNECTIONS = 512  # a gateway worker has three
REPLY_BYTES = 8 << 20  # of records in one reply, and at least one record
BACKLOG = 128
TURN_S = 0.2
DRAIN_S = 5.0  # how long requests that are under way may take when it stops

log_lines = logging.getLogger("thumbwheel.relay")


class Relay:
    """Answers on a socket in `folder` with what `log` says. `start` returns at once; `stop` waits for requests."""

    def __init__(self, log: EventLog, folder: Path) -> None:
        self._log, self._folder = log, folder
        self._stop = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)

    def start(self) -> None:
        """Begin to answer, in the place of any relay before. Raises OSError."""
        name = f".{frames.SOCKET}.{os.getpid()}"
        with short_path(self._folder) as short:
            self._listener.bind(f"{short}/{name}")
        self._listener.listen(BACKLOG)
        self._listener.settimeout(TURN_S)
        os.rename(self._folder / name, self._folder / frames.SOCKET)
        self._accepting.start()

    def stop(self) -> None:
        """Take no more requests, and answer those that are under way."""
        self._stop.set()
        self._accepting.join()
        self._listener.close()
        with self._lock:
            held = dict(self._connections)
        for connection in held.values():
            with contextlib.suppress(OSError):  # its gateway has closed it just now
                connection.shutdown(socket.SHUT_RD)  # whoever waits for a request finds the end
        for thread in held:
            thread.join(DRAIN_S)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # no more descriptors, say: some will be closed again
                log_lines.error("no connection can be taken: %s", error)
                self._stop.wait(TURN_S)
                continue
            with self._lock:
                if len(self._connections) >= MOST_CONNECTIONS:
                    log_lines.error("%d connections are open; one more is refused", MOST_CONNECTIONS)
                    connection.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(connection,), name="relay-client", daemon=True)
                self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(None)
            while (frame := frames.receive(connection)) is not None:
                frames.send(connection, self._answer(frames.read_request(frame)))
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log_lines.warning("a connection is given up: %s", error)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
            connection.close()

    def _answer(self, request: Request) -> Reply:
        try:
            return _asked(self._log, request)
        except StoreUnavailable as error:
            log_lines.warning("%s", error)
            return Failed(str(error))
        except Exception:  # the connection's outermost loop: whoever waits must get an answer
            log_lines.exception("a request could not be answered")
            return Failed("the event log's relay could not do it; see its log")


def _asked(log: EventLog, request: Request) -> Reply:
    """Do what is asked. Raises StoreUnavailable."""
    match request:
        case Append(topic, records, durable):
            log.append(topic, records, durable=durable)
            return Done()
        case Read(topic, partition, after, limit):
            return Records(_fitting(log, topic, partition, after, limit))
        case Bounds(ends):
            return Offsets(log.ends() if ends else log.starts())
        case _:
            assigned = log.assigned()
            return Places(assigned.generation, sorted(assigned.places))


def _fitting(log: EventLog, topic: str, partition: int, after: int, limit: int) -> list[tuple[int, str, bytes]]:
    found: list[tuple[int, str, bytes]] = []
    size = 0
    for record in log.read(topic, partition, after, limit):
        size += len(record.value)
        if found and size > REPLY_BYTES:
            break
        found.append((record.offset, record.key, record.value))
    return found


def run(argv: list[str]) -> int:
    """The verb `relay`."""
    settings = settings_from(parser("relay").parse_args(argv))
    if settings.kafka is None:
        right = "name the brokers, host:port; without Kafka there is no relay"
        raise SettingsError([("kafka", "is not set", right)])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home = prepare(settings.home)
    stop = stop_on_signals()
    log = open_log(settings, home, busy_ms=round(1000 * frames.PATIENCE_S))
    relay = Relay(log, home.relay)
    relay.start()
    try:
        stop.wait()
    finally:
        relay.stop()
        log.close()
    return 0
