"""`python -m demo [--cycles N] [--exit] [--home DIR]`: plays the help desk against a service that it starts itself.

On a terminal the service stays up at the end, to be asked; elsewhere, or with --exit, it is stopped cleanly. The exit
code is 0 only if the loop closed. A play that was cut off goes on where it was, in the same data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from demo import helpdesk
from demo.client import Client, DemoError
from demo.desk import Desk
from demo.journal import Journal, Screen
from demo.measure import load_general
from demo.play import LAST_CYCLE, Scene, play
from demo.report import make_report, table, write_report
from demo.service import Service

NOT_CLOSED, TROUBLE, INTERRUPTED = 1, 2, 130
EXAMPLE = "I washed the curtains once and they came out two shades lighter."


def read_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cycles", type=int, default=1, choices=range(1, LAST_CYCLE + 1), help="how often to teach (default 1)"
    )
    parser.add_argument("--exit", action="store_true", help="stop the service at the end, also on a terminal")
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("THUMBWHEEL_HOME") or ".thumbwheel"),
        help="the data directory (default: THUMBWHEEL_HOME, else .thumbwheel)",
    )
    return parser.parse_args(argv)


async def perform(service: Service, cycles: int, stay: bool, screen: Screen) -> int:
    """Start, play, report, stop. Returns the exit code. Raises DemoError where the play cannot go on."""
    desk_data, general = helpdesk.load(), load_general()
    home = service.home
    memory: asyncio.Task[None] | None = None
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = Journal(home / "demo-journal.json", screen)
        title = f"the service in {home.name}/"
        client, journal.starting_s = await journal.show(title, service.start, lambda c: f"answers at {c.address.api}")
        memory = asyncio.create_task(service.watch_memory())
        try:
            journal.tally = client.tally
            desk = Desk(client, home / "demo-acknowledged.txt")
            scene = Scene(client, desk, journal, screen, service, desk_data, general)
            code = await _play(scene, cycles)
            if stay:
                await _stay(client, service, screen)
        finally:
            await client.close()
        return code
    finally:
        if memory is not None:
            memory.cancel()
        if service.child is not None:
            screen.line("stopping the service")
            if not await service.stop():
                screen.line(f"it did not stop cleanly; see {service.logs}")


async def _play(scene: Scene, cycles: int) -> int:
    service = scene.service
    trouble = None
    try:
        await play(scene, cycles)
    except DemoError as error:
        trouble = error
    report = make_report(scene.journal, cycles, service.memory if service.child is not None else None)
    for line in table(report):
        scene.screen.line(line)
    scene.screen.line(f"  All figures: {write_report(service.home, report)}")
    if trouble is not None:
        raise trouble
    return 0 if report["closed"] else NOT_CLOSED


async def _stay(client: Client, service: Service, screen: Screen) -> None:
    body = (
        f'{{"model": "{helpdesk.CHANNEL}", "messages": [{{"role": "system", "content": "{helpdesk.SYSTEM_PROMPT}"}}, '
        f'{{"role": "user", "content": "{EXAMPLE}"}}]}}'
    )
    key = shlex.quote(str(service.home / "keys" / "app.key"))
    screen.line(f"\n  The service stays up at {client.address.api} (Ctrl-C stops it). Ask it something:\n")
    screen.line(f"  curl -s {client.address.api}/v1/chat/completions \\")
    screen.line(f'    -H "authorization: Bearer $(cat {key})" -H "content-type: application/json" \\')
    screen.line(f"    -d {shlex.quote(body)}\n")
    if service.child is not None:
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how this is meant to end
            await asyncio.to_thread(service.child.wait)
            screen.line(f"the service stopped by itself; see {service.logs}")


def main(argv: Sequence[str] | None = None) -> int:
    """Play, and return the exit code."""
    arguments = read_arguments(argv)
    home = arguments.home.resolve()
    screen = Screen()
    stay = sys.stdout.isatty() and not arguments.exit

    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await perform(Service(home), arguments.cycles, stay, screen)

    try:
        return asyncio.run(run())
    except DemoError as error:
        screen.line(f"\ndemo: {error}")
        screen.line(f"demo: the service's logs are in {home / 'logs'}; the same command goes on from here.")
        return TROUBLE
    except (KeyboardInterrupt, asyncio.CancelledError):
        with contextlib.suppress(BrokenPipeError):
            screen.line("\ndemo: stopped; the same command goes on from here.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
