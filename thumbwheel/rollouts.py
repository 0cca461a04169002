"""The life of releases, rollouts and runs: what may become what, written as compare-and-sets.

Both the admin API and the controller move these, so the moves live in the core; two that race cannot both win, the
loser gets LostRace. Every move made by a person, and every one that changes who answers, is an audit row.

    release   draft -> candidate -> stable -> retired      a rollback makes the last one stable again
              draft | candidate -> rejected                by gate, person or analysis
              retired -> candidate                       by a person, where it never was live (see `start_rollout`)
    rollout   running <-> paused, running -> held -> running (a person), then promoted -> rolled_back
              running | paused | held -> rolled_back (analysis) | aborted (a person, or a newer candidate)
    run       queued -> curating -> training -> evaluating -> candidate | rejected | insufficient_evidence, or failed
              curating -> evaluating, with a draft that was brought; -> insufficient_evidence, with too little
              insufficient_evidence -> candidate | rejected (a person)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection

from thumbwheel.errors import Conflict
from thumbwheel.eventlog import Positions
from thumbwheel.ids import new_id
from thumbwheel.records import ROLLOUT_ACTIVE, Channel, Policies, Release, Rollout, Run, Stage, Variant
from thumbwheel.routing import grow
from thumbwheel.store import fleet_rows, release_rows

STARTABLE = ("draft", "rejected", "candidate")
MOVING = ("running", "paused")  # a rollout that gives way to no other
LOGS_NOTHING = "the channel logs nothing (`log: off`), so a candidate could never be judged; set `log` to metadata"


def create_channel(
    tx: Connection, name: str, policies: Policies, base: str, pool: str, now_ms: int, who: str
) -> Channel:
    """A new channel whose stable release is the service's base."""
    release = Release(
        id=new_id("rel", now_ms),
        channel=name,
        state="stable",
        pool=pool,
        base=base,
        adapter=None,
        run=None,
        parent=None,
        report=None,
        reason=None,
        created_ms=now_ms,
        version=1,
    )
    channel = Channel(name, policies, release.id, (), _salt(), None, (), 1, now_ms)
    release_rows.insert_release(tx, release)
    release_rows.insert_channel(tx, channel)
    fleet_rows.record(tx, now_ms, who, "create_channel", name, None, asdict(policies))
    return channel


def make_draft(tx: Connection, channel: Channel, adapter: str, run: str | None, now_ms: int) -> Release:
    """A new draft with `adapter` on what the channel's stable release is made of, by `run` or brought from elsewhere.

    Its time is later than that of every other release of the channel, though the clock was set back meanwhile: ids sort
    by it, and of two candidates the later one counts.
    """
    stable = release_rows.get_release(tx, channel.stable)
    made_ms = max(now_ms, *(release.created_ms + 1 for release in release_rows.releases_of(tx, channel.name)))
    release = Release(
        id=new_id("rel", made_ms),
        channel=channel.name,
        state="draft",
        pool=stable.pool,
        base=stable.base,
        adapter=adapter,
        run=run,
        parent=stable.id,
        report=None,
        reason=None,
        created_ms=made_ms,
        version=1,
    )
    release_rows.insert_release(tx, release)
    return release


def change_policies(tx: Connection, channel: Channel, policies: Policies, now_ms: int, who: str) -> None:
    """Give the channel other policies. To log nothing while a rollout is in progress is a Conflict."""
    if policies == channel.policies:
        return
    current = release_rows.rollout_of(tx, channel)
    turned_off = policies.log == "off" and channel.policies.log != "off"
    if turned_off and current is not None and current.state in ROLLOUT_ACTIVE:
        raise Conflict(
            f"Rollout {current.id} of this channel is {current.state}, and without a log it could never be judged. "
            "Set `log` to metadata, which keeps no text; or promote or abort the rollout first.",
            param="log",
            code="rollout_in_progress",
        )
    release_rows.save_channel(tx, replace(channel, policies=policies))
    fleet_rows.record(tx, now_ms, who, "change_channel", channel.name, asdict(channel.policies), asdict(policies))


def start_rollout(tx: Connection, release: Release, stages: tuple[Stage, ...] | None, now_ms: int, who: str) -> Rollout:
    """Start moving the release's channel to it. No traffic moves before its smoke test has passed.

    A held rollout gives way; a running or paused one is a Conflict, and so is a release that is or was live, and a
    channel that logs nothing, where nobody could tell how the candidate does. A retired one may start that was a
    candidate and never live: an abort, or a newer candidate, says nothing against it. It does not become a candidate
    at its abort already, since the controller would start it again at once. One that was live comes back by rollback.
    """
    channel = release_rows.get_channel(tx, release.channel)
    if channel.policies.log == "off":
        raise Conflict(f"No rollout can start: {LOGS_NOTHING}.", param="log", code="channel_logs_nothing")
    if release.state not in STARTABLE and not (release.state == "retired" and _never_live(tx, channel, release)):
        raise Conflict(
            f"Release {release.id} is {release.state}; only a draft, rejected or candidate one can roll out, or a "
            "retired one that was never live.",
            param="release",
        )
    current = release_rows.rollout_of(tx, channel)
    if current is not None and current.state in MOVING:
        raise Conflict(
            f"Rollout {current.id} of this channel is {current.state}. Promote or abort it first.",
            param=current.id,
            code="rollout_in_progress",
        )
    if current is not None and current.state == "held":
        channel = _end(tx, channel, current, "aborted", "superseded by a newer candidate", now_ms, who)
        release = release_rows.get_release(tx, release.id)  # it may have been that one's
    before = {"state": release.state, "reason": release.reason}
    if release.state != "candidate":
        release = release_rows.save_release(tx, replace(release, state="candidate", reason=None))
    rollout = Rollout(
        id=new_id("ro", now_ms),
        channel=channel.name,
        release=release.id,
        state="running",
        stage=0,
        stages=stages or channel.policies.stages,
        weight=0.0,
        analysis={"result": "inconclusive", "reasons": ["the smoke test has not passed yet"]},
        started_ms=now_ms,
        stage_started_ms=None,
        ended_ms=None,
        version=1,
    )
    release_rows.insert_rollout(tx, rollout)
    variants = (*channel.variants, Variant(release.id, "candidate"))
    release_rows.save_channel(tx, replace(channel, rollout=rollout.id, variants=variants, salt=_salt()))
    fleet_rows.record(tx, now_ms, who, "start_rollout", rollout.id, before, {"release": release.id})
    return rollout


def enter_stage(tx: Connection, rollout: Rollout, stage: int, analysis: Mapping[str, object], now_ms: int) -> Rollout:
    """Widen the candidate to the weight of `stage`; its clock starts now."""
    channel = release_rows.get_channel(tx, rollout.channel)
    weight = rollout.stages[stage].weight
    variants = grow(channel.variants, rollout.release, weight)
    release_rows.save_channel(tx, replace(channel, variants=variants))
    moved = replace(rollout, stage=stage, weight=weight, stage_started_ms=now_ms, analysis=dict(analysis))
    fleet_rows.record(
        tx, now_ms, "controller", "enter_stage", rollout.id, {"weight": rollout.weight}, {"weight": weight}
    )
    return release_rows.save_rollout(tx, moved)


def note_analysis(tx: Connection, rollout: Rollout, analysis: Mapping[str, object]) -> Rollout:
    """Keep what the measurements say now, without moving anything."""
    return release_rows.save_rollout(tx, replace(rollout, analysis=dict(analysis)))


def hold(tx: Connection, rollout: Rollout, analysis: Mapping[str, object], now_ms: int) -> Rollout:
    """Inconclusive at the deadline: stay at this weight until a person, or a newer candidate, decides."""
    fleet_rows.record(tx, now_ms, "controller", "hold", rollout.id, {"state": rollout.state}, {"state": "held"})
    return release_rows.save_rollout(tx, replace(rollout, state="held", analysis=dict(analysis)))


def fail_rollout(tx: Connection, rollout: Rollout, analysis: Mapping[str, object], now_ms: int) -> None:
    """The analysis, or the smoke test, failed the candidate: it is rejected and all traffic is the stable's."""
    channel = release_rows.get_channel(tx, rollout.channel)
    reasons = analysis.get("reasons")
    reason = "; ".join(map(str, reasons)) if isinstance(reasons, list | tuple) else "failed"
    kept = replace(rollout, analysis=dict(analysis))
    _end(tx, channel, kept, "rolled_back", reason, now_ms, "controller", release_state="rejected")


def promote(tx: Connection, rollout: Rollout, analysis: Mapping[str, object] | None, now_ms: int, who: str) -> None:
    """The candidate becomes the stable release and answers all traffic; the one before is retired."""
    if rollout.state not in ROLLOUT_ACTIVE:
        raise Conflict(
            f"Rollout {rollout.id} is {rollout.state}; only one in progress can be promoted.", param=rollout.id
        )
    if rollout.stage_started_ms is None:
        raise Conflict(
            f"Rollout {rollout.id} has not passed its smoke test yet; it can be promoted once it has traffic.",
            param=rollout.id,
        )
    channel = release_rows.get_channel(tx, rollout.channel)
    old = release_rows.get_release(tx, channel.stable)
    new = release_rows.get_release(tx, rollout.release)
    release_rows.save_release(tx, replace(old, state="retired"))
    release_rows.save_release(tx, replace(new, state="stable", reason=None))
    others = tuple(variant for variant in channel.variants if variant.release != new.id)
    release_rows.save_channel(tx, replace(channel, stable=new.id, variants=others, history=(*channel.history, old.id)))
    final = dict(analysis) if analysis is not None else dict(rollout.analysis)
    release_rows.save_rollout(tx, replace(rollout, state="promoted", weight=100.0, analysis=final, ended_ms=now_ms))
    fleet_rows.record(tx, now_ms, who, "promote", rollout.id, {"stable": old.id}, {"stable": new.id})


def pause(tx: Connection, rollout: Rollout, now_ms: int, who: str) -> Rollout:
    """Stop moving; the weight stays where it is."""
    if rollout.state not in ("running", "held"):
        raise Conflict(
            f"Rollout {rollout.id} is {rollout.state}; only a running or held one can be paused.", param=rollout.id
        )
    fleet_rows.record(tx, now_ms, who, "pause", rollout.id, {"state": rollout.state}, {"state": "paused"})
    return release_rows.save_rollout(tx, replace(rollout, state="paused"))


def resume(tx: Connection, rollout: Rollout, now_ms: int, who: str) -> Rollout:
    """Go on from a pause or a hold; the stage's clock starts anew."""
    if rollout.state not in ("paused", "held"):
        raise Conflict(
            f"Rollout {rollout.id} is {rollout.state}; only a paused or held one can be resumed.", param=rollout.id
        )
    fleet_rows.record(tx, now_ms, who, "resume", rollout.id, {"state": rollout.state}, {"state": "running"})
    begun = None if rollout.stage_started_ms is None else now_ms
    return release_rows.save_rollout(tx, replace(rollout, state="running", stage_started_ms=begun))


def abort(tx: Connection, rollout: Rollout, now_ms: int, who: str, reason: str = "aborted by a person") -> None:
    """End the rollout; the candidate is retired and all traffic is the stable's."""
    if rollout.state not in ROLLOUT_ACTIVE:
        raise Conflict(
            f"Rollout {rollout.id} is {rollout.state}; only one in progress can be aborted.", param=rollout.id
        )
    channel = release_rows.get_channel(tx, rollout.channel)
    _end(tx, channel, rollout, "aborted", reason, now_ms, who)


def roll_back(tx: Connection, channel: Channel, now_ms: int, who: str, damaged: Collection[str] = frozenset()) -> None:
    """The emergency lever: end a rollout in progress, else make the last stable release stable again.

    Releases named in `damaged`, whose files no engine could load, are passed over for the one before. Raises Conflict
    where there is none to go back to.
    """
    current = release_rows.rollout_of(tx, channel)
    if current is not None and current.state in ROLLOUT_ACTIVE:
        _end(tx, channel, current, "aborted", "rolled back by a person", now_ms, who)
        return
    whole = [name for name in channel.history if name not in damaged]
    if not whole:
        missing = "; the files of those before are damaged or missing" if channel.history else ""
        raise Conflict(f"Channel {channel.name} has no earlier release to go back to{missing}.")
    bad = release_rows.get_release(tx, channel.stable)
    good = release_rows.get_release(tx, whole[-1])
    earlier = channel.history[: channel.history.index(good.id)]
    release_rows.save_release(tx, replace(bad, state="retired", reason="rolled back by a person"))
    release_rows.save_release(tx, replace(good, state="stable", reason=None))
    release_rows.save_channel(tx, replace(channel, stable=good.id, history=earlier))
    if current is not None and current.release == bad.id and current.state == "promoted":
        release_rows.save_rollout(tx, replace(current, state="rolled_back", weight=0.0, ended_ms=now_ms))
    fleet_rows.record(tx, now_ms, who, "rollback", channel.name, {"stable": bad.id}, {"stable": good.id})


def start_run(tx: Connection, channel: str, ends: Positions, release: str | None, now_ms: int, who: str) -> Run:
    """A queued run that sees everything in the log up to `ends`; with `release` it judges that draft, and trains none.

    Whether the channel may have another run is the caller's to ask, in the same transaction.
    """
    run = Run(
        id=new_id("run", now_ms),
        channel=channel,
        state="queued",
        positions={topic: {str(part): at for part, at in parts.items()} for topic, parts in ends.items()},
        dataset=None,
        release=release,
        report=None,
        reasons=(),
        progress={},
        requested_by=who,
        attempts=0,
        created_ms=now_ms,
        updated_ms=now_ms,
        version=1,
    )
    release_rows.insert_run(tx, run)
    fleet_rows.record(tx, now_ms, who, "start_run", run.id, None, {"channel": channel, "release": release})
    return run


def advance_run(tx: Connection, run: Run, state: str, now_ms: int, **fields: Any) -> Run:
    """Move a run in progress to its next step, `state`; `fields` are the run's that change with it. Raises LostRace."""
    return release_rows.save_run(tx, replace(run, state=state, progress={}, updated_ms=now_ms, **fields))


def finish_run(
    tx: Connection, run: Run, verdict: str, reasons: tuple[str, ...], report: str | None, now_ms: int, who: str
) -> Run:
    """End a run: candidate, rejected or insufficient_evidence, by the gate's or a person's word, or failed, by a job's.

    A release that is no draft any more, since a person has rolled it out meanwhile, keeps its state. `candidate` makes
    a draft one and, with `auto_rollout`, starts its rollout in the same transaction. Where a rollout is under way, or
    the channel logs nothing, the candidate waits; the controller starts it when it can.
    """
    channel = release_rows.get_channel(tx, run.channel)
    if run.release is not None:
        release = release_rows.get_release(tx, run.release)
        was_draft = release.state == "draft"
        judged = replace(release, report=report or release.report)
        if was_draft:
            state = {"candidate": "candidate", "rejected": "rejected"}.get(verdict, "draft")
            judged = replace(judged, state=state, reason=None if verdict == "candidate" else "; ".join(reasons) or None)
        release = release_rows.save_release(tx, judged)
        if was_draft and verdict == "candidate" and _obstacle(tx, channel) is None:
            start_rollout(tx, release, None, now_ms, who)
    fleet_rows.record(tx, now_ms, who, "finish_run", run.id, {"state": run.state}, {"state": verdict})
    return release_rows.save_run(
        tx, replace(run, state=verdict, reasons=reasons, report=report or run.report, updated_ms=now_ms)
    )


def decide_run(tx: Connection, run: Run, verdict: str, word: str, now_ms: int, who: str) -> Run:
    """End a run that waits for a person: `verdict` is candidate or rejected, and `word` says it among the reasons.

    Raises Conflict where it waits for nobody, or where its release has been rolled out by hand meanwhile: then the
    verdict could move nothing.
    """
    if run.state != "insufficient_evidence":
        raise Conflict(f"Run {run.id} is {run.state}; only insufficient_evidence waits for a person.", param=run.id)
    if run.release is None:
        raise Conflict(f"Run {run.id} made no release that could be decided on.", param=run.id)
    release = release_rows.get_release(tx, run.release)
    if release.state != "draft":
        raise Conflict(
            f"Release {release.id} of run {run.id} is {release.state} by now, since a person rolled it out; only a "
            "draft can be approved or rejected.",
            param=release.id,
        )
    return finish_run(tx, run, verdict, (*run.reasons, f"{word} by {who}"), None, now_ms, who)


def waiting(tx: Connection, channel: Channel) -> dict[str, str] | None:
    """The channel's newest candidate that no rollout moves, `release`, and the `reason` why; None without one."""
    found = _idle(tx, channel)
    if not found:
        return None
    return {"release": found[-1].id, "reason": _obstacle(tx, channel) or "its rollout starts in a moment"}


def startable(tx: Connection, channel: Channel) -> tuple[Release | None, list[Release]]:
    """The candidate whose rollout may start by itself now, and those that a newer one has overtaken."""
    if _obstacle(tx, channel) is not None:
        return None, []
    candidates, current = _idle(tx, channel), release_rows.rollout_of(tx, channel)
    if candidates and (current is None or current.release < candidates[-1].id):  # ids sort by age, see make_draft
        return candidates[-1], candidates[:-1]
    return None, candidates


def overtake(tx: Connection, release: Release, now_ms: int, who: str) -> None:
    """Retire a candidate that never started, as a newer one took its place."""
    release_rows.save_release(tx, replace(release, state="retired", reason="a newer candidate took its place"))
    fleet_rows.record(tx, now_ms, who, "overtaken", release.id, {"state": release.state}, {"state": "retired"})


def _idle(tx: Connection, channel: Channel) -> list[Release]:
    """The channel's candidates that no rollout moves, oldest first."""
    current = release_rows.rollout_of(tx, channel)
    busy = current.release if current is not None and current.state in ROLLOUT_ACTIVE else None
    return [r for r in release_rows.releases_of(tx, channel.name) if r.state == "candidate" and r.id != busy]


def _obstacle(tx: Connection, channel: Channel) -> str | None:
    """Why no candidate of the channel starts by itself; None where one may."""
    if channel.policies.log == "off":
        return LOGS_NOTHING
    if not channel.policies.auto_rollout:
        return "auto_rollout is off; start its rollout by hand"
    current = release_rows.rollout_of(tx, channel)
    return f"rollout {current.id} is {current.state}" if current is not None and current.state in MOVING else None


def _never_live(tx: Connection, channel: Channel, release: Release) -> bool:
    """Whether a retired release was a candidate only: its last rollout was aborted, or it never had one."""
    tried = release_rows.rollouts_of(tx, release.id)
    return release.id not in channel.history and (not tried or tried[-1].state == "aborted")


def _end(
    tx: Connection,
    channel: Channel,
    rollout: Rollout,
    state: str,
    reason: str,
    now_ms: int,
    who: str,
    release_state: str = "retired",
) -> Channel:
    release = release_rows.get_release(tx, rollout.release)
    release_rows.save_release(tx, replace(release, state=release_state, reason=reason))
    release_rows.save_rollout(tx, replace(rollout, state=state, weight=0.0, ended_ms=now_ms))
    variants = tuple(variant for variant in channel.variants if variant.release != rollout.release)
    fleet_rows.record(tx, now_ms, who, state, rollout.id, {"state": rollout.state}, {"state": state, "reason": reason})
    return release_rows.save_channel(tx, replace(channel, variants=variants))


def _salt() -> str:
    return os.urandom(16).hex()
