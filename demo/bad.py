"""The bad candidates: each is brought in as a careless or unlucky person would, and must be stopped by the service.

A candidate counts as stopped only by the service's own words, which `by` holds: what the import said, what the run's
reasons are, or what the live analysis found. Nothing here assumes which check it will be.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import adapters
from demo.client import Client, DemoError
from demo.cycle import ROLLOUT_OVER, Refused, follow_run, start_run, watch_rollout
from demo.desk import Desk, Visit
from demo.helpdesk import Question
from demo.journal import Progress, Screen

SHUFFLED = "-shuffled"  # added to the channel's name
RANDOM_DEVIATION = 0.1  # with 0.05 the default base still writes sentences, with 0.1 none
COMMAND_WITHIN_S = 120.0
JUDGED = ("rejected", "insufficient_evidence")


@dataclass(frozen=True)
class Stop:
    """What came of a bad candidate. `by` is None where nothing stopped it; `release` is its draft, if it got so far."""

    candidate: str
    by: str | None
    release: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For the journal and the report."""
        return {"candidate": self.candidate, "by": self.by, "release": self.release}


class Workshop:
    """Where bad candidates are made: a copy of the promoted adapter, the service's command line and its admin API."""

    def __init__(self, client: Client, home: Path, channel: str, command: Sequence[str]) -> None:
        self.client = client
        self.home = home
        self.channel = channel
        self.command = tuple(command)

    async def random_weights(self, progress: Progress) -> Stop:
        """Random values in the promoted adapter's shapes: a whole adapter, and the gate's to judge."""
        imported, words = await self._import(lambda copy: adapters.random_weights(copy, RANDOM_DEVIATION, seed=1))
        if imported is None:
            return Stop("random weights", f"import: {words}")
        return Stop("random weights", await self._judge(imported, JUDGED, progress), imported)

    async def nan_weights(self) -> Stop:
        """One NaN."""
        return await self._refused_at_import("NaN weights", adapters.nan_weight)

    async def wrong_base(self) -> Stop:
        """An adapter that says it is another base's."""
        return await self._refused_at_import(
            "a wrong base", lambda copy: adapters.other_base(copy, "another-shop/other-base-360m")
        )

    async def wrong_width(self) -> Stop:
        """An adapter of another base that does not say so: its matrices are narrower."""

        def damage(copy: Path) -> None:
            adapters.other_base(copy, "")
            adapters.other_width(copy)

        return await self._refused_at_import("a wrong base, not named", damage)

    async def flipped_bit(self, progress: Progress) -> Stop:
        """A good copy is imported; then one bit of the stored file flips."""
        name = "a bit flipped"
        before = self._artifacts()
        imported, words = await self._import(lambda copy: None)
        if imported is None:
            return Stop(name, f"import: {words}")
        new = self._artifacts() - before
        if len(new) != 1:
            raise DemoError("the imported copy was not stored as an artifact of its own; no bit was flipped")
        await asyncio.to_thread(adapters.flip_bit, self.home / "artifacts" / new.pop() / adapters.WEIGHTS)
        # A file that is not as it was written ends the run rather than a judgement: that is a stop here, and only here.
        return Stop(name, await self._judge(imported, (*JUDGED, "failed"), progress), imported)

    async def shuffled(self, desk: Desk, visits: Sequence[Visit], progress: Progress) -> Stop:
        """A second channel hears the same complaints, each with another category's correction; a run there."""
        channel = self.channel + SHUFFLED
        progress.note = "asking and correcting"
        await desk.receive(channel, visits, progress.count)
        run = await start_run(self.client, channel, {})
        shown = await follow_run(self.client, run, progress)
        by = await self._verdict(shown, JUDGED)
        return Stop("trained on shuffled corrections", by, shown["release"])

    async def past_the_gate(
        self, release: str, desk: Desk, traffic: Sequence[Question], progress: Progress, screen: Screen
    ) -> dict[str, Any]:
        """An administrator rolls the random draft out by hand, while 400 users keep asking."""
        name = "random weights, let past the gate"
        status, content = await self.client.admin("POST", f"/channels/{self.channel}/rollouts", {"release": release})
        if status != 200:
            raise DemoError(f"an administrator's rollout was answered {status}: {content['error']['message']}")
        seen = await watch_rollout(desk, self.channel, release, traffic, progress, screen, seed=6)
        by = None
        if seen["state"] == "rolled_back":
            by = f"rollout, {_reached(seen)}: " + "; ".join(map(str, seen["analysis"]["reasons"]))
        elif seen["state"] not in ROLLOUT_OVER:
            await self.client.demand("POST", f"/rollouts/{seen['rollout']}/abort")
        return {**Stop(name, by, release).as_json(), "watched": seen}

    async def _refused_at_import(self, name: str, damage: Callable[[Path], None]) -> Stop:
        imported, words = await self._import(damage)
        return Stop(name, f"import: {words}" if imported is None else None, imported)

    async def _judge(self, release: str, stops: Sequence[str], progress: Progress) -> str | None:
        """Ask the gate about a draft; the words that stopped it, or None."""
        try:
            run = await start_run(self.client, self.channel, {"release": release})
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            return f"admin API: {refusal.words}"
        return await self._verdict(await follow_run(self.client, run, progress), stops)

    async def _verdict(self, run: Mapping[str, Any], stops: Sequence[str]) -> str | None:
        if run["state"] in stops:
            where = "gate" if run["state"] in JUDGED else "run"
            return f"{where}, {run['state']}: {'; '.join(run['reasons']) or 'no reason given'}"
        if run["state"] == "candidate":
            await self._abort_rollout(run["channel"], run["release"])
        return None

    async def _abort_rollout(self, channel: str, release: str) -> None:
        """A bad candidate got through: the report will say so, and nobody should be answered by it meanwhile."""
        shown = await self.client.demand("GET", f"/channels/{channel}")
        rollout = shown["rollout"]
        if rollout is not None and rollout["release"] == release and rollout["state"] not in ROLLOUT_OVER:
            await self.client.demand("POST", f"/rollouts/{rollout['id']}/abort")

    async def _import(self, damage: Callable[[Path], None]) -> tuple[str | None, str]:
        """Import a damaged copy of the stable release's adapter: the draft's id, or None with what the command said."""
        source = await self._stable_adapter()
        scratch = Path(tempfile.mkdtemp(prefix="thumbwheel-demo-"))
        try:
            # The folder's name is what a person might have given it; the service must not go by it.
            copy = adapters.copy_adapter(source, scratch / "adapter")
            await asyncio.to_thread(damage, copy)
            return await self._command(copy)
        finally:
            shutil.rmtree(scratch)

    async def _command(self, directory: Path) -> tuple[str | None, str]:
        child = await asyncio.create_subprocess_exec(
            *(*self.command, "release", "import", str(directory)),
            *("--channel", self.channel, "--home", str(self.home), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(COMMAND_WITHIN_S):
                out, error = await child.communicate()
        except TimeoutError:
            child.kill()
            raise DemoError(f"`thumbwheel release import` took over {COMMAND_WITHIN_S:g} s") from None
        if child.returncode == 0:
            return str(json.loads(out)["id"]), ""
        said = error.decode(errors="replace").strip().splitlines()
        if not said or "Traceback" in error.decode(errors="replace"):
            raise DemoError(f"`thumbwheel release import` broke (exit code {child.returncode}): {' '.join(said[-1:])}")
        return None, said[-1].removeprefix("thumbwheel: ")

    async def _stable_adapter(self) -> Path:
        channel = await self.client.demand("GET", f"/channels/{self.channel}")
        release = await self.client.demand("GET", f"/releases/{channel['stable']}")
        if not release.get("adapter"):
            raise DemoError(f"the stable release of {self.channel} has no adapter to make bad copies of")
        return self.home / "artifacts" / str(release["adapter"])

    def _artifacts(self) -> set[str]:
        """The names of the adapters that are stored."""
        return {file.parent.name for file in (self.home / "artifacts").glob(f"[0-9a-f]*/{adapters.WEIGHTS}")}


def _reached(watched: Mapping[str, Any]) -> str:
    """How far a rollout came, in what the users saw of it."""
    if not watched["canary"]:
        return "rolled back before its first traffic was seen"
    return f"rolled back at {watched['canary'][-1]['weight']:g}% after {watched['form']['candidate'][1]} of its answers"
