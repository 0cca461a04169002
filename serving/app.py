"""One gateway worker, put together and run: `thumbwheel gateway [--api-fd N --admin-fd N]`.

The supervisor opens the two listening sockets and hands them down as file descriptors, so that a killed worker loses
no port and several workers share one. Without them it listens on the settings' host and ports itself. SIGTERM drains:
no new connections, streams run to their end, the inference log is written out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from serving.admin_api import admin
from serving.asking import CHAT_PATH, COMPLETIONS_PATH
from serving.chat import Chat
from serving.connection import Connection
from serving.feedback_api import api
from serving.feedback_log import FeedbackLog
from serving.inference_log import InferenceLog
from serving.limits import InFlight
from serving.metrics import Metrics
from serving.parts import Parts
from serving.proofs import Proofs
from serving.replies import Application, Receive, Scope, Send
from serving.siblings import Siblings
from serving.snapshot import Watch
from serving.upstream import Upstream
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import prepare, read_secret
from thumbwheel.ids import new_id
from thumbwheel.settings import USUAL_PORTS, Settings
from thumbwheel.store.connection import connect, open_store

log = logging.getLogger(__name__)

DRAIN_S = 30
KEEP_ALIVE_S = 75
URGENT_MS = 400
URGENT_LIMIT_MS = 2_000  # a whole transaction, where the database hangs: the emergency file is next
LIMIT_MS = 30_000
FEEDBACK_MS = 2_000
BACKLOG = 2048
THREADS = 32
EXPOSED_HEADERS = (
    "x-thumbwheel-release",
    "x-thumbwheel-variant",
    "x-thumbwheel-feedback-token",
    "x-request-id",
    "retry-after",
)


class Gateway:
    """A worker's parts and its two ASGI applications. Make and close it within a running event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        home = prepare(settings.home)
        store = open_store(settings, home, limit_ms=LIMIT_MS)
        urgent = connect(settings, home, busy_ms=URGENT_MS, limit_ms=URGENT_LIMIT_MS)
        worker = new_id("worker", clock())
        watch = Watch(urgent, home, clock, worker, settings.gateway_poll_ms)
        upstream = Upstream(settings.upstream_key)
        in_flight = InFlight(settings.max_in_flight)
        inference_log = InferenceLog(
            lambda: open_log(settings, home, "gateway"), home.spool, settings.log_queue, settings.spool_bytes
        )
        metrics = Metrics(worker, store, inference_log, in_flight)
        self.parts = Parts(
            settings=settings,
            home=home,
            clock=clock,
            secret=read_secret(home),
            store=store,
            urgent=urgent,
            # Opened when first asked, and again until it opens: the log may be away while a worker starts.
            read_log=lru_cache(maxsize=1)(lambda: open_log(settings, home, "gateway", busy_ms=FEEDBACK_MS)),
            feedback_log=FeedbackLog(lambda: open_log(settings, home, "gateway", busy_ms=FEEDBACK_MS)),
            watch=watch,
            upstream=upstream,
            proofs=Proofs(upstream, lambda: watch.now),
            inference_log=inference_log,
            in_flight=in_flight,
            metrics=metrics,
            siblings=Siblings(home.workers, worker, metrics.own),
        )
        self.api = application_api(self.parts)
        self.admin: FastAPI = admin(self.parts)
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the first picture, begin to poll, to probe and to log, and answer the other workers."""
        await self.parts.siblings.start()
        self.parts.inference_log.start()
        self.parts.feedback_log.start()
        self.parts.watch.on_change(self.parts.proofs.wake)
        self._polling = asyncio.create_task(self.parts.watch.run())
        await self.parts.watch.refresh()

    async def close(self) -> None:
        """Stop polling and probing, write out what is queued."""
        if self._polling is not None:
            self._polling.cancel()
        self.parts.proofs.close()
        await self.parts.siblings.close()
        await self.parts.upstream.close()
        await asyncio.to_thread(self.parts.inference_log.close)
        await asyncio.to_thread(self.parts.feedback_log.close)
        self.parts.store.close()
        self.parts.urgent.close()


def application_api(parts: Parts) -> Application:
    """The application's listener: the hot path, the other routes, and CORS where a setting asks for it."""
    return _across_origins(_routed(Chat(parts), api(parts)), parts.settings.cors_origins)


def _routed(chat: Chat, rest: FastAPI) -> Application:
    """The hot path past the framework, everything else into it."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        hot = scope["type"] == "http" and scope["path"] in (CHAT_PATH, COMPLETIONS_PATH)
        await (chat if hot else rest)(scope, receive, send)

    return application


def _across_origins(application: Application, origins: tuple[str, ...]) -> Application:
    """Pages of these origins may ask and rate from a browser: keys and tokens are theirs to hold, no cookie counts."""
    if not origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),  # SDKs send a dozen of their own
        expose_headers=EXPOSED_HEADERS,
    )


class Listener(uvicorn.Server):
    """uvicorn without its own signal handlers: two of them run in one loop, and this module's handler ends both."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def listener(application: Application | FastAPI, protocol: type[Connection] = Connection) -> Listener:
    """A server that is started with its sockets."""
    return Listener(
        uvicorn.Config(
            application,
            loop="none",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            backlog=BACKLOG,
        )
    )


async def serve(settings: Settings, api_socket: socket.socket, admin_socket: socket.socket) -> None:
    """Run one worker until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    # Threads that wait for a locked file must not keep others from theirs.
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    gateway = Gateway(settings, system_clock)
    await gateway.start()
    servers = (listener(gateway.api), listener(gateway.admin))

    def stop() -> None:
        log.info("draining")
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("gateway worker %d answers", os.getpid())
    await asyncio.gather(*(s.serve([sock]) for s, sock in zip(servers, (api_socket, admin_socket), strict=True)))
    await gateway.close()
    log.info("gateway worker %d has drained", os.getpid())


def _listen(descriptor: int | None, host: str, port: int) -> socket.socket:
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    opened = socket.create_server((host, port), backlog=BACKLOG)
    opened.set_inheritable(False)
    return opened


def run(argv: list[str]) -> int:
    """The verb `gateway`."""
    options = parser("gateway")
    options.add_argument("--api-fd", type=int, help="a listening socket, inherited, for the application API")
    options.add_argument("--admin-fd", type=int, help="a listening socket, inherited, for the admin API")
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    api_socket = _listen(arguments.api_fd, settings.host, settings.api_port or USUAL_PORTS["api_port"])
    admin_socket = _listen(arguments.admin_fd, settings.admin_host, settings.admin_port or USUAL_PORTS["admin_port"])
    uvloop.run(serve(settings, api_socket, admin_socket))
    return 0
