"""The life of releases, rollouts and runs, on a real store."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from thumbwheel import rollouts
from thumbwheel.errors import Conflict, LostRace, StoreUnavailable
from thumbwheel.records import Channel, Policies, Release, Rollout, Run
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store, generation


@pytest.fixture
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores(busy_ms=200)
    with opened.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base-model", "default", 1_000, "test")
    yield opened
    opened.close()


def draft(tx: Connection, name: str) -> Release:
    channel = release_rows.get_channel(tx, "support")
    release = Release(
        name, "support", "draft", "default", "base-model", "a" * 64, None, channel.stable, None, None, 2_000, 1
    )
    release_rows.insert_release(tx, release)
    return release


def start(store: Store, name: str = "rel-new") -> Rollout:
    with store.write() as tx:
        return rollouts.start_rollout(tx, draft(tx, name), None, 3_000, "test")


def now(store: Store) -> tuple[Channel, Rollout]:
    with store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        assert channel.rollout is not None
        return channel, release_rows.get_rollout(tx, channel.rollout)


def state(store: Store, release: str) -> str:
    with store.read() as tx:
        return release_rows.get_release(tx, release).state


def test_no_traffic_moves_before_the_first_stage(store: Store) -> None:
    start(store)
    channel, rollout = now(store)
    assert channel.stable_weight == 100.0 and rollout.weight == 0.0 and rollout.stage_started_ms is None
    assert state(store, "rel-new") == "candidate"


def test_the_whole_way_up_and_back_again(store: Store) -> None:
    first_stable = now_stable(store)
    rollout = start(store)
    bands = []
    for stage in range(4):
        with store.write() as tx:
            rollout = rollouts.enter_stage(tx, rollout, stage, {"result": "successful", "reasons": []}, 4_000 + stage)
        bands.append(now(store)[0].variants[0])
    assert [variant.weight for variant in bands] == pytest.approx([5, 25, 50, 100])
    for narrow, wide in itertools.pairwise(bands):
        assert all(any(a <= low and high <= b for a, b in wide.band) for low, high in narrow.band)
    with store.write() as tx:
        rollouts.promote(tx, rollout, None, 5_000, "controller")
    channel, rollout = now(store)
    assert channel.stable == "rel-new" and channel.variants == () and rollout.state == "promoted"
    assert (state(store, "rel-new"), state(store, first_stable)) == ("stable", "retired")
    with store.write() as tx:
        rollouts.roll_back(tx, channel, 6_000, "operator")
    channel, rollout = now(store)
    assert channel.stable == first_stable and rollout.state == "rolled_back"
    assert (state(store, "rel-new"), state(store, first_stable)) == ("retired", "stable")
    with store.write() as tx, pytest.raises(Conflict, match="no earlier release"):
        rollouts.roll_back(tx, channel, 7_000, "operator")


def test_nothing_is_promoted_before_its_smoke_test(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx, pytest.raises(Conflict, match="smoke test"):
        rollouts.promote(tx, rollout, None, 4_000, "operator")


def now_stable(store: Store) -> str:
    with store.read() as tx:
        return release_rows.get_channel(tx, "support").stable


def test_a_failed_analysis_rejects_the_release_and_gives_all_back(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx:
        rollout = rollouts.enter_stage(tx, rollout, 0, {}, 4_000)
        rollouts.fail_rollout(tx, rollout, {"result": "failed", "reasons": ["errors 30%", "empty"]}, 5_000)
    channel, rollout = now(store)
    assert channel.variants == () and rollout.state == "rolled_back" and rollout.weight == 0.0
    with store.read() as tx:
        release = release_rows.get_release(tx, "rel-new")
    assert (release.state, release.reason) == ("rejected", "errors 30%; empty")


def test_pause_resume_hold_abort(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx:
        rollout = rollouts.enter_stage(tx, rollout, 0, {}, 4_000)
        rollout = rollouts.pause(tx, rollout, 5_000, "operator")
        with pytest.raises(Conflict):
            rollouts.pause(tx, rollout, 5_000, "operator")
        rollout = rollouts.resume(tx, rollout, 6_000, "operator")
        assert rollout.stage_started_ms == 6_000
        rollout = rollouts.hold(tx, rollout, {"result": "inconclusive"}, 7_000)
        rollouts.abort(tx, rollout, 8_000, "operator")
    channel, rollout = now(store)
    assert rollout.state == "aborted" and channel.variants == () and state(store, "rel-new") == "retired"
    with store.write() as tx:
        for move in (rollouts.pause, rollouts.resume, rollouts.abort):
            with pytest.raises(Conflict):
                move(tx, rollout, 9_000, "operator")
        with pytest.raises(Conflict):
            rollouts.promote(tx, rollout, None, 9_000, "operator")


def test_one_rollout_at_a_time_but_a_held_one_gives_way(store: Store) -> None:
    rollout = start(store)
    with pytest.raises(Conflict) as caught:
        start(store, "rel-other")
    assert caught.value.param == rollout.id
    with store.write() as tx:
        rollouts.hold(tx, rollout, {}, 5_000)
    start(store, "rel-third")
    channel, current = now(store)
    assert current.release == "rel-third" and [v.release for v in channel.variants] == ["rel-third"]
    with store.read() as tx:
        assert release_rows.get_rollout(tx, rollout.id).state == "aborted"


def test_a_release_that_was_live_is_not_rolled_out_again(store: Store) -> None:
    with store.write() as tx, pytest.raises(Conflict, match="is stable"):
        rollouts.start_rollout(tx, release_rows.get_release(tx, now_stable(store)), None, 1, "test")


def lives(store: Store, rollout: Rollout) -> None:
    with store.write() as tx:
        rollout = rollouts.enter_stage(tx, rollout, 0, {}, 4_000)
        rollouts.promote(tx, rollout, None, 5_000, "operator")


def again(store: Store, name: str = "rel-new") -> Rollout:
    with store.write() as tx:
        return rollouts.start_rollout(tx, release_rows.get_release(tx, name), None, 9_000, "operator")


@pytest.mark.parametrize("ended", ["abort", "rollback", "a newer candidate"])
def test_an_aborted_candidate_can_start_again_and_go_all_the_way(store: Store, ended: str) -> None:
    rollout = start(store)
    with store.write() as tx:
        if ended == "abort":
            rollouts.abort(tx, rollout, 4_000, "operator")
        elif ended == "rollback":
            rollouts.roll_back(tx, release_rows.get_channel(tx, "support"), 4_000, "operator")
        else:
            rollouts.hold(tx, rollout, {}, 4_000)
    if ended == "a newer candidate":
        newer = start(store, "rel-newer")
        with store.write() as tx:
            rollouts.abort(tx, newer, 4_500, "operator")
    assert state(store, "rel-new") == "retired"
    second = again(store)
    with store.read() as tx:
        release = release_rows.get_release(tx, "rel-new")
        (row,) = fleet_rows.audit_of(tx, second.id)
    assert (release.state, release.reason) == ("candidate", None)
    assert row["before"]["state"] == "retired" and row["who"] == "operator"
    lives(store, second)
    assert state(store, "rel-new") == "stable" and now(store)[1].id == second.id != rollout.id


def test_a_candidate_that_was_overtaken_before_it_started_can_start(store: Store) -> None:
    with store.write() as tx:
        release_rows.save_release(tx, replace(draft(tx, "rel-new"), state="retired"))
    assert again(store).release == "rel-new"


def test_what_was_live_comes_back_by_rollback_alone(store: Store) -> None:
    base = now_stable(store)
    lives(store, start(store))
    lives(store, start(store, "rel-newer"))
    for name in (base, "rel-new"):  # replaced by a better one
        with pytest.raises(Conflict, match="is retired"):
            again(store, name)
    with store.write() as tx:
        rollouts.roll_back(tx, release_rows.get_channel(tx, "support"), 6_000, "operator")
    with pytest.raises(Conflict, match="is retired"):  # rolled back
        again(store, "rel-newer")


def test_a_release_that_analysis_failed_starts_again_by_force_as_often_as_it_is_aborted(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx:
        rollouts.fail_rollout(tx, rollout, {"reasons": ["errors"]}, 4_000)
    for _ in range(2):
        forced = again(store)
        with store.write() as tx:
            rollouts.abort(tx, forced, 9_500, "operator")
    assert state(store, "rel-new") == "retired"


@pytest.mark.parametrize("ended", ["rejected", "stable"])
@pytest.mark.parametrize("verdict", ["candidate", "rejected"])
def test_nobody_decides_on_a_release_that_a_person_has_let_out_meanwhile(
    store: Store, verdict: str, ended: str
) -> None:
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new", "insufficient_evidence")
    rollout = again(store)
    if ended == "stable":
        lives(store, rollout)
    else:
        with store.write() as tx:
            rollouts.fail_rollout(tx, rollout, {"reasons": ["errors"]}, 4_000)
    with pytest.raises(Conflict, match=f"is {ended} by now") as caught, store.write() as tx:
        rollouts.decide_run(tx, run, verdict, "approved", 9_000, "operator")
    assert caught.value.param == "rel-new" and state(store, "rel-new") == ended
    with store.read() as tx:
        assert release_rows.get_run(tx, run.id).state == "insufficient_evidence"


@pytest.mark.parametrize("verdict", ["candidate", "rejected"])
def test_a_person_decides_on_a_draft_once(store: Store, verdict: str) -> None:
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new", "insufficient_evidence")
    with store.write() as tx:
        run = rollouts.decide_run(tx, run, verdict, "decided", 9_000, "operator")
        assert (run.state, run.reasons) == (verdict, ("decided by operator",))
        with pytest.raises(Conflict, match="waits for a person"):
            rollouts.decide_run(tx, run, verdict, "decided", 9_000, "operator")
    assert state(store, "rel-new") == verdict


@pytest.mark.parametrize("verdict", ["candidate", "rejected", "insufficient_evidence", "failed"])
def test_a_verdict_moves_no_release_that_a_person_has_let_out_meanwhile(store: Store, verdict: str) -> None:
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new")
    rollout = again(store)
    for expected in ("candidate", "stable"):
        if expected == "stable":
            lives(store, rollout)
        with store.write() as tx:
            run = rollouts.finish_run(tx, run, verdict, ("because",), "r" * 64, 9_000, "evaluator")
        assert (state(store, "rel-new"), run.state) == (expected, verdict)
    assert now(store)[1].id == rollout.id


def test_a_held_rollout_gives_way_to_another_of_the_same_release(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx:
        rollouts.hold(tx, rollout, {}, 4_000)
    second = again(store)
    assert state(store, "rel-new") == "candidate" and now(store)[1].id == second.id
    assert [variant.release for variant in now(store)[0].variants] == ["rel-new"]


def test_rollback_during_a_rollout_ends_it(store: Store) -> None:
    stable = now_stable(store)
    start(store)
    with store.write() as tx:
        rollouts.roll_back(tx, release_rows.get_channel(tx, "support"), 5_000, "operator")
    channel, rollout = now(store)
    assert rollout.state == "aborted" and channel.stable == stable


def test_two_that_move_the_same_rollout_cannot_both_win(store: Store) -> None:
    rollout = start(store)
    with store.write() as tx:
        rollouts.pause(tx, rollout, 5_000, "one")
    with store.write() as tx, pytest.raises(LostRace):
        rollouts.fail_rollout(tx, rollout, {}, 5_000)


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    rollout = start(store)
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        rollouts.pause(tx, rollout, 5_000, "one")
        raise ZeroDivisionError
    assert now(store)[1].state == "running"


def run_of(store: Store, release: str | None, state: str = "evaluating") -> Run:
    run = Run("run-1", "support", state, {}, None, release, None, (), {}, "test", 0, 1, 1, 1)
    with store.write() as tx:
        release_rows.insert_run(tx, run)
    return run


@pytest.mark.parametrize(
    ("verdict", "release_state", "rolls_out"),
    [("candidate", "candidate", True), ("rejected", "rejected", False), ("insufficient_evidence", "draft", False)],
)
def test_a_verdict_moves_run_release_and_rollout_together(
    store: Store, verdict: str, release_state: str, rolls_out: bool
) -> None:
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new")
    with store.write() as tx:
        rollouts.finish_run(tx, run, verdict, ("because",), "r" * 64, 9_000, "evaluator")
    assert state(store, "rel-new") == release_state
    with store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        assert (channel.rollout is not None) == rolls_out
        assert release_rows.get_run(tx, "run-1").state == verdict


def test_a_run_moves_on_once_with_what_its_step_found(store: Store) -> None:
    with store.write() as tx:
        run = rollouts.start_run(tx, "support", {}, None, 2_000, "test")
        run = release_rows.save_run(tx, replace(run, progress={"step": "waiting"}))
        moved = rollouts.advance_run(tx, run, "training", 3_000, dataset="d" * 64)
    assert (moved.state, moved.dataset, moved.progress, moved.updated_ms) == ("training", "d" * 64, {}, 3_000)
    with store.read() as tx:
        assert release_rows.get_run(tx, run.id) == moved
    with pytest.raises(LostRace), store.write() as tx:
        rollouts.advance_run(tx, run, "evaluating", 4_000)


def test_of_several_candidates_the_newest_starts_and_the_others_are_overtaken(store: Store) -> None:
    with store.write() as tx:
        for name in ("rel-n1", "rel-n2", "rel-n3"):
            release_rows.save_release(tx, replace(draft(tx, name), state="candidate"))
        channel = release_rows.get_channel(tx, "support")
        newest, older = rollouts.startable(tx, channel)
        assert newest is not None and [release.id for release in (*older, newest)] == ["rel-n1", "rel-n2", "rel-n3"]
        rollouts.overtake(tx, older[0], 3_000, "controller")
        rollouts.change_policies(tx, channel, replace(channel.policies, auto_rollout=False), 4_000, "operator")
        assert rollouts.startable(tx, release_rows.get_channel(tx, "support")) == (None, [])
        (row,) = fleet_rows.audit_of(tx, "rel-n1")
    assert state(store, "rel-n1") == "retired" and (row["action"], row["who"]) == ("overtaken", "controller")


def test_a_candidate_that_was_made_after_the_clock_was_set_back_is_the_newer_one(store: Store) -> None:
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        first = rollouts.make_draft(tx, channel, "a" * 64, None, 9_000_000)
        failed = rollouts.start_rollout(tx, first, None, 9_000_000, "test")
        rollouts.fail_rollout(tx, failed, {"reasons": ["errors"]}, 9_000_001)
        second = rollouts.make_draft(tx, channel, "b" * 64, None, 5_000)
        third = rollouts.make_draft(tx, channel, "c" * 64, None, 6_000)
        for release in (second, third):
            release_rows.save_release(tx, replace(release, state="candidate"))
        newest, older = rollouts.startable(tx, release_rows.get_channel(tx, "support"))
        assert newest is not None and (newest.id, [release.id for release in older]) == (third.id, [second.id])


def test_a_draft_is_what_the_stable_release_is_with_another_adapter(store: Store) -> None:
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        made = rollouts.make_draft(tx, channel, "a" * 64, "run-1", 5_000)
        stable = release_rows.get_release(tx, channel.stable)
    assert (made.state, made.parent, made.adapter, made.run) == ("draft", stable.id, "a" * 64, "run-1")
    assert (made.base, made.pool, made.created_ms) == (stable.base, stable.pool, 5_000)


def test_a_rollback_passes_over_releases_that_no_engine_could_load(store: Store) -> None:
    base = now_stable(store)
    for name in ("rel-one", "rel-two", "rel-three"):
        lives(store, start(store, name))
    channel = now(store)[0]
    with store.write() as tx, pytest.raises(Conflict, match="damaged or missing"):
        rollouts.roll_back(tx, channel, 6_000, "operator", set(channel.history))
    with store.write() as tx:
        rollouts.roll_back(tx, channel, 6_000, "operator", {"rel-two"})
    channel, rollout = now(store)
    assert (channel.stable, channel.history) == ("rel-one", (base,)) and rollout.state == "rolled_back"
    assert state(store, "rel-two") == "retired"


def test_a_candidate_waits_while_another_moves(store: Store) -> None:
    start(store, "rel-first")
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new")
    with store.write() as tx:
        rollouts.finish_run(tx, run, "candidate", (), None, 9_000, "evaluator")
    assert state(store, "rel-new") == "candidate" and now(store)[1].release == "rel-first"


def test_without_auto_rollout_a_candidate_stays_one(store: Store) -> None:
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(channel, policies=Policies(auto_rollout=False)))
        draft(tx, "rel-new")
    run = run_of(store, "rel-new")
    with store.write() as tx:
        rollouts.finish_run(tx, run, "candidate", (), None, 9_000, "evaluator")
        assert release_rows.get_channel(tx, "support").rollout is None


def log(store: Store, word: str) -> None:
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        rollouts.change_policies(tx, channel, replace(channel.policies, log=word), 4_000, "operator")


def test_a_channel_that_logs_nothing_starts_no_rollout(store: Store) -> None:
    log(store, "off")
    with pytest.raises(Conflict, match="set `log` to metadata") as caught:
        start(store)
    assert caught.value.code == "channel_logs_nothing"
    log(store, "metadata")
    start(store)


@pytest.mark.parametrize("standing", ["running", "paused", "held"])
def test_the_log_is_not_switched_off_under_a_rollout(store: Store, standing: str) -> None:
    rollout = start(store)
    with store.write() as tx:
        if standing == "paused":
            rollouts.pause(tx, rollout, 4_000, "operator")
        if standing == "held":
            rollouts.hold(tx, rollout, {}, 4_000)
    with pytest.raises(Conflict, match="metadata"):
        log(store, "off")
    log(store, "metadata")
    with store.write() as tx:
        rollouts.abort(tx, now(store)[1], 5_000, "operator")
    log(store, "off")
    assert now(store)[0].policies.log == "off"


def test_a_candidate_of_a_channel_that_logs_nothing_is_kept_with_the_reason(store: Store) -> None:
    log(store, "off")
    with store.write() as tx:
        draft(tx, "rel-new")
    run = run_of(store, "rel-new")
    with store.write() as tx:
        rollouts.finish_run(tx, run, "candidate", (), None, 9_000, "evaluator")
    with store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        assert channel.rollout is None and release_rows.get_release(tx, "rel-new").state == "candidate"
        shown = rollouts.waiting(tx, channel)
    assert shown == {"release": "rel-new", "reason": rollouts.LOGS_NOTHING}


def test_what_a_candidate_waits_for_is_shown(store: Store) -> None:
    def shown() -> dict[str, str] | None:
        with store.read() as tx:
            return rollouts.waiting(tx, release_rows.get_channel(tx, "support"))

    assert shown() is None
    rollout = start(store, "rel-first")
    assert shown() is None, "a rollout moves it"
    with store.write() as tx:
        release_rows.save_release(tx, replace(draft(tx, "rel-second"), state="candidate"))
    assert shown() == {"release": "rel-second", "reason": f"rollout {rollout.id} is running"}
    with store.write() as tx:
        rollouts.abort(tx, rollout, 5_000, "operator")
    assert shown() == {"release": "rel-second", "reason": "its rollout starts in a moment"}
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        rollouts.change_policies(tx, channel, replace(channel.policies, auto_rollout=False), 6_000, "operator")
    assert (shown() or {})["reason"] == "auto_rollout is off; start its rollout by hand"


def test_every_move_is_in_the_audit_trail_and_tells_the_gateways(store: Store) -> None:
    with store.read() as tx:
        before = generation(tx)
    rollout = start(store)
    with store.write() as tx:
        rollouts.pause(tx, rollout, 5_000, "operator")
    with store.read() as tx:
        assert [row["action"] for row in fleet_rows.audit_of(tx, rollout.id)] == ["start_rollout", "pause"]
        assert generation(tx) > before


def test_a_lease_has_one_holder_until_it_expires(store: Store) -> None:
    with store.write() as tx:
        fleet_rows.take_lease(tx, "leader", "one", 1_000, 500)
        fleet_rows.take_lease(tx, "leader", "one", 1_200, 500)
    with store.write() as tx, pytest.raises(LostRace):
        fleet_rows.take_lease(tx, "leader", "two", 1_600, 500)
    with store.write() as tx:
        fleet_rows.take_lease(tx, "leader", "two", 1_701, 500)


def test_a_locked_store_is_said_to_be_unavailable(store: Store) -> None:
    with store.write(), pytest.raises(StoreUnavailable), store.write() as tx:
        fleet_rows.beat(tx, "w", 1, 1)
