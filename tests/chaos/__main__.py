"""`make chaos`: every named point and many random ones, under load, over a Kafka and a PostgreSQL of its own.

    python -m tests.chaos [--seed N] [--rounds N] [--blow NAME]... [--out FILE.json]

A round strikes every named point and every random one once, or those that `--blow` names, in an order that the seed
gives. It prints its seed, what was seen of each point, and the account; it exits with 1 where anything was lost,
doubled or left without a state. What each person says and where the random blows fall follows from the seed; how
processes interleave does not.
It needs Kafka (tests/integration/kafka_broker.py) and PostgreSQL (tests/integration/postgres/server.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.play import play, table
from tests.chaos.points import NAMED, RANDOM
from tests.chaos.scene import opened
from tests.integration.kafka_broker import Broker, kafka_home
from tests.integration.postgres.server import binaries, running


def order(seed: int, rounds: int, some: Sequence[str]) -> list[str]:
    """The blows of so many rounds: of `some`, or of all."""
    dice, found = random.Random(f"order {seed}"), []
    for _ in range(rounds):
        blows = [*(some or [*NAMED, *RANDOM])]
        dice.shuffle(blows)
        found += blows
    return found


def missing() -> list[str]:
    """What is not here, each with what to do."""
    found = []
    if kafka_home() is None:
        found.append("Kafka (name its folder in KAFKA_HOME, and have java 17 on PATH)")
    if binaries() is None:
        found.append("PostgreSQL (install it, or name its programs' folder in POSTGRES_BIN)")
    return found


def main(argv: list[str]) -> int:
    options = argparse.ArgumentParser(prog="make chaos", description="Nothing lost, nothing twice.")
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument(
        "--blow", action="append", default=[], choices=[*NAMED, *RANDOM], help="this one; again: and that"
    )
    options.add_argument("--out", type=Path, help="where the account is written as JSON")
    arguments = options.parse_args(argv)
    if lacking := missing():
        demanded = os.environ.get("CI") == "true"
        print(f"chaos: {'failed' if demanded else 'skipped'}, as this is not here: {'; '.join(lacking)}")
        return 1 if demanded else 0
    print(f"chaos: seed {arguments.seed}, {arguments.rounds} rounds", flush=True)
    blows = order(arguments.seed, arguments.rounds, arguments.blow)
    home, programs = kafka_home(), binaries()
    assert home is not None and programs is not None
    with tempfile.TemporaryDirectory(prefix="thumbwheel-chaos-") as folder, running(programs, settings=()) as postgres:
        data = Path(folder) / "kafka"
        data.mkdir()
        broker = Broker(home, data)
        broker.start()
        try:
            with opened(Path(folder), broker, postgres, arguments.seed) as scene:
                account = play(scene, blows, lambda line: print(line, flush=True))
        finally:
            broker.kill()
    account = {"seed": arguments.seed, "rounds": arguments.rounds, **account}
    print(table(account))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(account, indent=2) + "\n")
    return 1 if account["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
