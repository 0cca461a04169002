"""The service as a set of children and what the world is told of them: the loop of `thumbwheel up`.

`Service.turn` is called a few times a second: it starts what is due, notices what ended, keeps the engine's row true
and announces the listeners once they answer. It knows nothing of what the processes do, and keeps nothing that the
next start would need.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import httpx

from deploy.processes import Child, bound_log, last_lines
from deploy.upstreams import first_model, is_up
from thumbwheel.clock import system_clock
from thumbwheel.errors import EngineHopeless, EngineUnreachable, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.home import Home, write_private
from thumbwheel.ids import new_id
from thumbwheel.records import Engine
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, fleet_rows
from thumbwheel.store.connection import Store

PROBE_S = 2.0
PROBE_EVERY_S = {"starting": 0.5, "ready": 5.0}
HUNG_S = 120.0  # a ready engine that answers nothing for so long is killed and started again
LOGS_EVERY_S = 10.0
CATCH_UP_S = 5.0
HOPELESS = 3  # ends with status 2 (the settings are wrong) in a row before the engine was ever ready
WRONG_SETTINGS = 2

log_lines = logging.getLogger("thumbwheel.up")


class Service:
    """The children, in the order in which they are started; `engine` is None where an upstream answers."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        store: Store,
        log: EventLog,
        children: list[Child],
        engine: Child | None,
        row: Engine,
        endpoints: dict[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._home, self._store, self._log = settings, home, store, log
        self._children, self._engine = children, engine
        self._row = row
        self._written: Engine | None = None
        self._endpoints = endpoints
        self._say = say
        self._announced = False
        self._ever_ready = False
        self._began_s = time.monotonic()
        self._probe_due_s = 0.0
        self._answered_s = time.monotonic()
        self._logs_due_s = 0.0
        self._ready_told = False

    def turn(self) -> None:
        """One look at everything. Raises EngineHopeless."""
        now_s = time.monotonic()
        for child in self._children:
            try:
                event = child.tend(now_s)
            except OSError as error:
                log_lines.error("%s cannot be started: %s; it is tried again", child.program.name, error)
                self._say(f"{child.program.name} cannot be started ({error.strerror}); it is tried again")
                continue
            if event is not None:
                log_lines.info("%s %s%s", child.program.name, event, "" if event == "started" else f" ({child.status})")
            if event == "ended":
                self._say(f"{child.program.name} ended (status {child.status}); it is started again")
            if child is self._engine and event is not None:
                self._engine_moved(child, event)
        self._probe(now_s)
        self._write_row()
        self._announce()
        if now_s >= self._logs_due_s:
            self._logs_due_s = now_s + LOGS_EVERY_S
            self._bound_logs()
        self._tell(now_s)

    def _bound_logs(self) -> None:
        for file in self._home.logs.glob("*.log"):
            try:
                bound_log(file)
            except OSError as error:
                log_lines.error("%s cannot be cut: %s", file.name, error)

    def _engine_moved(self, engine: Child, event: str) -> None:
        if event == "started":
            self._row = replace(self._row, state="starting", incarnation=new_id("inc", system_clock()))
            return
        self._row = replace(self._row, state="stopped")
        if engine.status == WRONG_SETTINGS and engine.failures >= HOPELESS and not self._ever_ready:
            raise EngineHopeless(f"the engine does not start:\n{last_lines(engine.program.log, 8)}")

    def _probe(self, now_s: float) -> None:
        """Keep the row's state true, and end an engine that hangs."""
        if now_s < self._probe_due_s or (self._engine is not None and not self._engine.alive):
            return
        if self._engine is None and not self._row.base_name:
            self._row = self._named(self._row)
        well = bool(self._row.base_name) and is_up(self._row, self._settings.upstream_key, PROBE_S)
        if well:
            self._answered_s = now_s
            self._ever_ready = True
            if self._row.state != "ready":
                self._row = replace(self._row, state="ready")
        elif self._engine is None and self._row.state == "ready" and now_s - self._answered_s > PROBE_S * 5:
            # Gateways find out for themselves; a new incarnation has them prove it anew when it is back.
            self._row = replace(self._row, state="starting", incarnation=new_id("inc", system_clock()))
        elif self._engine is not None and self._row.state == "ready" and now_s - self._answered_s > HUNG_S:
            log_lines.error("the engine has answered nothing for %g s; it is killed", HUNG_S)
            self._answered_s = now_s
            if self._engine.process is not None:
                self._engine.process.kill()
        self._probe_due_s = now_s + PROBE_EVERY_S.get(self._row.state, 0.5)

    def _named(self, row: Engine) -> Engine:
        try:
            return replace(row, base_name=first_model(row, self._settings.upstream_key, PROBE_S))
        except EngineUnreachable as error:
            log_lines.info("upstream: %s", error)
            return row

    def _write_row(self) -> None:
        if self._row == self._written:
            return
        try:
            with self._store.write() as tx:
                for other in fleet_rows.all_engines(tx):
                    if other.id != self._row.id:
                        fleet_rows.remove_engine(tx, other.id)
                fleet_rows.put_engine(tx, self._row)
            self._written = self._row
        except StoreUnavailable as error:
            log_lines.warning("the engine's row waits: %s", error)

    def _announce(self) -> None:
        """Write endpoints.json, whole, once both listeners answer."""
        if self._announced or not all(_answers(url) for url in self._endpoints.values()):
            return
        try:
            write_private(self._home.endpoints, json.dumps(self._endpoints) + "\n")
        except OSError as error:
            log_lines.error("endpoints.json waits: %s", error)
            return
        self._announced = True
        log_lines.info("listening: %s", self._endpoints)

    def _tell(self, now_s: float) -> None:
        if self._ready_told and self._row.state == "ready":
            return
        waited = f"{now_s - self._began_s:.0f} s"
        if not self._announced:
            self._say(f"waiting for the gateway ({waited})")
        elif self._row.state != "ready":
            self._ready_told = False
            who = "the upstream" if self._engine is None else "the engine"
            self._say(f"waiting for {who} ({waited}); api {self._endpoints['api']}")
        else:
            self._ready_told = True
            self._say(f"up after {waited}: api {self._endpoints['api']}  admin {self._endpoints['admin']}")

    def drain(self) -> None:
        """Stop everything in the order in which work flows: no new requests, no lost events, then the rest."""
        self._home.endpoints.unlink(missing_ok=True)
        for stage in ("gateway", "consumer", "controller", "relay", "engine"):
            chosen = [child for child in self._children if child.program.name.partition("-")[0] == stage]
            if stage == "consumer":
                self._catch_up()
            for child in chosen:
                if child.process is not None:
                    child.process.terminate()  # all at once; `stop` below waits for each
            for child in chosen:
                self._say(f"stopping {child.program.name}")
                child.stop()
                log_lines.info("%s stopped (%s)", child.program.name, child.status)
        self._row = replace(self._row, state="stopped")
        self._write_row()

    def _catch_up(self) -> None:
        """Let the consumer ingest what the gateways wrote last. What it does not get to waits in the log."""
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            try:
                with self._store.read() as tx:
                    if data_rows.caught_up(tx, self._log.ends()):
                        return
            except StoreUnavailable:
                return
            time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        httpx.get(url + "/healthz", timeout=PROBE_S, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
