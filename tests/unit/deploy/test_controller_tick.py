"""The controller's tick with a turned clock, a real store and a scripted job runner; no process is started."""

from concurrent.futures import Executor, Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploy.controller import LEASE_MS, Controller, tick
from deploy.jobs import Ended
from deploy.runs import VERBS, Runs
from deploy.smoke import Smoke
from tests.full_disk import no_room
from thumbwheel import rollouts
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.home import emergency_stop, prepare, read_emergency
from thumbwheel.records import Engine, Policies, Release, Run, Stage
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import generation, open_store

T0 = 1_795_000_000_000
STAGES = (Stage(20.0, 2, 4, 60.0), Stage(100.0, 2, 4, 60.0))
PASSED = Smoke("passed", ("fine",), {})


class Inline(Executor):
    """Runs what it is given at once."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class ScriptedJobs:
    """Jobs that end when a test says so."""

    def __init__(self):
        self.starts, self.now, self.ends, self.busy = [], {}, [], False

    def start(self, run, verb):
        if self.busy:
            return False
        self.starts.append(verb)
        self.now[run] = verb
        return True

    def running(self):
        return self.now

    def ended(self):
        ends, self.ends = self.ends, []
        for end in ends:
            del self.now[end.run]
        return ends

    def stop(self, run=None):
        self.now.clear() if run is None else self.now.pop(run, None)

    def end(self, run, status):
        self.ends.append(Ended(run, self.now[run], status))


@pytest.fixture
def world(tmp_path):
    home = prepare(tmp_path / "home")
    store, log = open_store(home.store), SqliteEventLog(home.events)
    settings = Settings(home=home.root, job_attempts=2, engine_restart_s=1.0)
    smokes = [PASSED]
    me = Controller(
        settings=settings,
        home=home,
        store=store,
        runs=Runs(settings, store, log, ScriptedJobs()),
        holder="controller-a",
        smoke_test=lambda release: smokes[0],
        tester=Inline(),
    )
    with store.write() as tx:
        fleet_rows.put_engine(tx, Engine("engine-0", "default", "vllm", "/none", "base", "inc-1", "ready"))
        rollouts.create_channel(tx, "support", Policies(stages=STAGES), "tiny", "default", T0, "test")
    world = SimpleNamespace(me=me, store=store, log=log, home=home, jobs=me.runs.jobs, smokes=smokes, now=T0, seen=0)
    yield world
    log.close()
    store.close()


def another(world):
    """A second controller on the same store."""
    runs = Runs(world.me.settings, world.store, world.log, ScriptedJobs())
    return replace(world.me, holder="controller-b", runs=runs, leading=False)


def turn(world, ms=1_000):
    world.now += ms
    return tick(world.me, world.now)


def channel(world):
    with world.store.read() as tx:
        return release_rows.get_channel(tx, "support")


def rollout(world):
    with world.store.read() as tx:
        return release_rows.get_rollout(tx, release_rows.get_channel(tx, "support").rollout)


def release_of(world, name):
    with world.store.read() as tx:
        return release_rows.get_release(tx, name)


def a_run(world, name="run-1", state="queued", **fields):
    run = Run(name, "support", state, {}, None, None, None, (), {}, "test", 0, world.now, world.now, 1)
    with world.store.write() as tx:
        release_rows.insert_run(tx, replace(run, **fields))
    return name


def run_row(world, name="run-1"):
    with world.store.read() as tx:
        return release_rows.get_run(tx, name)


def set_run(world, name="run-1", **fields):
    with world.store.write() as tx:
        release_rows.save_run(tx, replace(release_rows.get_run(tx, name), **fields))


def a_candidate(world, number=1, state="candidate"):
    name = f"rel-0z{number:024d}"
    release = Release(name, "support", state, "default", "tiny", "a" * 64, None, None, None, None, world.now, 1)
    with world.store.write() as tx:
        release_rows.insert_release(tx, release)
    return name


def serve(world, role, units, each=1, status="ok", flags=()):
    """Requests of `units` for the present rollout's candidate, or for the stable release."""
    chan, events = channel(world), []
    for unit in units:
        for _ in range(each):
            world.seen += 1
            events.append(
                InferenceEvent(
                    id=f"chatcmpl-{world.seen:08d}",
                    tenant="default",
                    channel="support",
                    unit=unit,
                    at_ms=world.now,
                    assigned=chan.variants[0].release if role == "candidate" else chan.stable,
                    role=role,
                    served_by=chan.stable,
                    status=status,
                    rollout=chan.rollout,
                    flags=list(flags),
                    e2e_ms=1_000.0,
                    messages=[{"role": "user", "content": f"question {world.seen}"}],
                    answer="an answer",
                )
            )
    with world.store.write() as tx:
        data_rows.ingest(tx, events, [])


def users(count, mark="u"):
    return [f"{mark}{i}" for i in range(count)]


# leading


def test_one_leads_and_another_waits_for_its_lease(world):
    other = another(world)
    assert turn(world)
    a_run(world)
    assert not tick(other, world.now + 100) and other.runs.jobs.starts == []
    assert tick(other, world.now + LEASE_MS + 1)
    assert other.runs.jobs.starts == ["curate"]


def test_who_has_lost_the_lead_stops_its_jobs(world):
    a_run(world)
    turn(world)
    assert world.jobs.running() == {"run-1": "curate"}
    other = another(world)
    assert tick(other, world.now + LEASE_MS + 1)
    assert not turn(world, LEASE_MS + 2)
    assert world.jobs.running() == {}


def test_a_store_that_is_away_is_raised_and_nothing_is_lost(world):
    a_run(world)
    turn(world)
    world.jobs.end("run-1", -9)
    locked = open_store(world.home.store, busy_ms=1)
    world.me.store = world.me.runs.store = locked
    with world.store.write(), pytest.raises(StoreUnavailable):
        turn(world, 2_000)
    world.me.store = world.me.runs.store = world.store
    turn(world)
    assert run_row(world).attempts == 2
    locked.close()


def test_on_a_full_disk_nothing_moves_and_then_everything_goes_on(world):
    name = a_candidate(world)
    a_run(world)
    with no_room(), pytest.raises(StoreUnavailable):
        turn(world, 2_000)
    assert channel(world).rollout is None and run_row(world).state == "queued" and world.jobs.starts == []
    turn(world)
    assert rollout(world).release == name and world.jobs.starts == ["curate"]


# runs


def test_a_queued_run_goes_through_its_jobs_one_after_the_other(world):
    a_run(world)
    for state, verb in VERBS.items():
        turn(world)
        assert run_row(world).state == state and world.jobs.starts[-1] == verb
        assert run_row(world).attempts == 1
        following = {"curating": "training", "training": "evaluating", "evaluating": "candidate"}[state]
        set_run(world, state=following)
        world.jobs.end("run-1", 0)
    turn(world)
    assert world.jobs.starts == list(VERBS.values())


def test_a_dead_job_is_started_again_after_a_pause_and_fails_after_its_attempts(world):
    a_run(world)
    turn(world)
    world.jobs.end("run-1", -9)
    turn(world, 100)
    assert world.jobs.starts == ["curate"] and run_row(world).attempts == 2
    turn(world, 1_000)
    assert world.jobs.starts == ["curate", "curate"]
    world.jobs.end("run-1", -9)
    turn(world)
    assert run_row(world).state == "failed"
    assert "curate ended 2 times" in run_row(world).reasons[0] and "status -9" in run_row(world).reasons[0]


def test_a_job_that_cannot_be_started_does_not_keep_rollouts_from_being_watched(world):
    class Full(ScriptedJobs):
        """No process can be started."""

        def start(self, run, verb):
            raise OSError(28, "No space left on device")

    world.me.runs.jobs = Full()
    a_run(world)
    a_candidate(world)
    turn(world)
    turn(world)
    assert rollout(world).weight == 20.0 and run_row(world).attempts == 1
    world.me.runs.jobs = world.jobs
    turn(world, 6_000)
    assert world.jobs.starts == ["curate"]


def test_a_job_whose_engine_is_away_spends_no_attempt(world):
    a_run(world, state="evaluating", attempts=1, release="rel-x")
    for _ in range(5):
        turn(world, 6_000)
        world.jobs.end("run-1", 3)
        turn(world, 100)
        assert world.jobs.running() == {}  # not at once
    turn(world, 6_000)
    assert len(world.jobs.starts) == 6
    assert run_row(world).state == "evaluating" and run_row(world).attempts == 1


def test_a_controllers_own_death_spends_no_attempt(world):
    a_run(world)
    turn(world)
    world.jobs.now.clear()  # they died with the controller
    fresh = another(world)
    assert tick(fresh, world.now + LEASE_MS + 1)
    assert fresh.runs.jobs.starts == ["curate"] and run_row(world).attempts == 1


def test_a_job_that_another_controller_still_runs_is_waited_for(world):
    a_run(world)
    world.jobs.busy = True
    turn(world)
    turn(world)
    assert world.jobs.starts == [] and run_row(world).state == "curating"
    world.jobs.busy = False
    turn(world)
    assert world.jobs.starts == ["curate"]


def test_a_killed_evaluation_gives_its_engine_back(world):
    a_run(world, state="evaluating", attempts=1)
    turn(world)
    with world.store.write() as tx:
        fleet_rows.take_lease(tx, "engine:engine-0", "evaluate:run-1", world.now, 900_000)
    world.jobs.end("run-1", -9)
    turn(world)
    with world.store.write() as tx:
        fleet_rows.take_lease(tx, "engine:engine-0", "somebody", world.now, 1_000)


def test_one_job_at_a_time(world):
    a_run(world, "run-1")
    a_run(world, "run-2")
    turn(world)
    assert world.jobs.running() == {"run-1": "curate"}


def test_a_draft_that_is_there_already_is_not_trained_again(world):
    a_run(world, state="training", release="rel-x")
    turn(world)
    assert run_row(world).state == "evaluating"


def test_without_weights_the_dataset_is_frozen_and_the_run_says_so(world):
    world.me.runs.settings = replace(world.me.settings, upstream="http://127.0.0.1:9")
    a_run(world, state="training", dataset="d" * 64)
    turn(world)
    assert run_row(world).state == "failed"
    assert run_row(world).reasons == (
        f"no training: the weights are not here, an upstream answers; dataset {'d' * 64} is frozen",
    )
    assert world.jobs.starts == []


def correct(world, count):
    """`count` corrections, with their inferences."""
    first = world.seen + 1
    serve(world, "stable", users(count))
    feedback = [
        FeedbackEvent(
            id=f"fb-{n}",
            inference=f"chatcmpl-{n:08d}",
            tenant="default",
            channel="support",
            at_ms=world.now,
            correction="right",
        )
        for n in range(first, first + count)
    ]
    with world.store.write() as tx:
        data_rows.ingest(tx, [], list(enumerate(feedback)))


def test_train_after_asks_for_a_run_once(world):
    with world.store.write() as tx:
        chan = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(chan, policies=replace(chan.policies, train_after=3)))
    world.now += 1
    correct(world, 2)
    turn(world)
    with world.store.read() as tx:
        assert release_rows.runs_of(tx, "support") == []
    correct(world, 3)
    turn(world)
    turn(world)
    with world.store.read() as tx:
        (run,) = release_rows.runs_of(tx, "support")
    assert run.requested_by == "trigger" and run.positions == {"inference": {"0": 0}, "feedback": {"0": 0}}
    assert world.jobs.starts == ["curate"]


# rollouts


def test_a_candidate_is_smoked_widened_and_promoted(world):
    name = a_candidate(world)
    turn(world)
    assert rollout(world).release == name and rollout(world).weight == 0.0
    turn(world)
    assert rollout(world).weight == 20.0 and channel(world).variants[0].weight == pytest.approx(20.0)
    turn(world)
    assert rollout(world).state == "running" and "waits for" in rollout(world).analysis["reasons"][0]
    serve(world, "candidate", users(4))
    serve(world, "stable", users(20, "s"))
    turn(world)
    assert rollout(world).weight == 100.0 and rollout(world).stage == 1
    turn(world)
    serve(world, "candidate", users(5))
    turn(world)
    assert rollout(world).state == "promoted" and channel(world).stable == name
    assert [stage["weight"] for stage in rollout(world).analysis["stages"]] == [20.0, 100.0]
    assert release_of(world, name).state == "stable"


def test_a_failed_smoke_test_ends_the_rollout_before_any_traffic(world):
    world.smokes[0] = Smoke("failed", ("it answered 3 prompts with nothing",), {})
    name = a_candidate(world)
    turn(world)
    turn(world)
    assert rollout(world).state == "rolled_back" and rollout(world).weight == 0.0
    assert release_of(world, name).state == "rejected" and "nothing" in release_of(world, name).reason
    assert channel(world).variants == ()


def test_an_engine_that_is_away_keeps_the_candidate_waiting(world):
    world.smokes[0] = Smoke("waiting", ("no engine of its pool is ready",), {})
    a_candidate(world)
    for _ in range(3):
        turn(world)
    with world.store.read() as tx:
        before = generation(tx)
    turn(world)
    assert rollout(world).state == "running" and rollout(world).stage_started_ms is None
    with world.store.read() as tx:
        assert generation(tx) == before  # nothing new to tell, nothing written
    world.smokes[0] = PASSED
    turn(world)
    assert rollout(world).weight == 20.0


def started(world):
    name = a_candidate(world)
    turn(world)
    turn(world)
    serve(world, "candidate", ["u0"])  # the concurrent traffic is counted from the candidate's first request
    serve(world, "stable", users(30, "s"))
    return name


def test_a_bad_candidate_is_rolled_back_and_rejected(world):
    name = started(world)
    serve(world, "candidate", users(4), each=2, status="release_error")
    turn(world)
    assert rollout(world).state == "rolled_back" and rollout(world).analysis["result"] == "failed"
    assert release_of(world, name).state == "rejected" and channel(world).variants == ()


def test_inconclusive_at_the_deadline_holds_and_never_promotes(world):
    name = started(world)
    turn(world, 59_000)
    assert rollout(world).state == "running"
    turn(world, 2_000)
    assert rollout(world).state == "held" and rollout(world).weight == 20.0
    assert rollout(world).analysis["result"] == "inconclusive"
    serve(world, "candidate", users(8))
    turn(world)
    assert rollout(world).state == "held" and channel(world).stable != name  # a person decides


@pytest.mark.parametrize("state", ["held", "paused"])
def test_a_rollout_that_stands_still_is_still_failed(world, state):
    started(world)
    with world.store.write() as tx:
        current = release_rows.get_rollout(tx, release_rows.get_channel(tx, "support").rollout)
        release_rows.save_rollout(tx, replace(current, state=state))
    serve(world, "candidate", users(4), each=2, status="release_error")
    turn(world)
    assert rollout(world).state == "rolled_back"


def test_a_newer_candidate_takes_the_place_of_a_held_one(world):
    first = started(world)
    turn(world, 61_000)
    assert rollout(world).state == "held"
    second = a_candidate(world, 2)
    turn(world)
    assert rollout(world).release == second and rollout(world).state == "running"
    assert release_of(world, first).state == "retired"


def test_candidates_wait_for_a_running_rollout_and_the_newest_wins(world):
    first = started(world)
    second, third = a_candidate(world, 2), a_candidate(world, 3)
    turn(world)
    assert rollout(world).release == first
    serve(world, "candidate", users(4), each=2, status="release_error")
    turn(world)
    turn(world)
    assert rollout(world).release == third and release_of(world, second).state == "retired"


def test_an_older_candidate_does_not_follow_a_newer_one(world):
    newer = a_candidate(world, 2)
    turn(world)
    older = a_candidate(world, 1)
    with world.store.write() as tx:
        rollouts.abort(tx, release_rows.get_rollout(tx, release_rows.get_channel(tx, "support").rollout), T0, "p")
    turn(world)
    assert rollout(world).release == newer and release_of(world, older).state == "retired"


def test_an_aborted_candidate_stays_aborted_until_a_person_starts_it_again(world):
    name = started(world)
    with world.store.write() as tx:
        rollouts.abort(tx, release_rows.get_rollout(tx, channel(world).rollout), world.now, "a person")
    aborted = rollout(world).id
    turn(world)
    assert rollout(world).id == aborted
    with world.store.write() as tx:
        rollouts.start_rollout(tx, release_rows.get_release(tx, name), None, world.now, "a person")
    turn(world)
    assert rollout(world).id != aborted and rollout(world).weight == 20.0
    serve(world, "candidate", users(5))
    serve(world, "stable", users(20, "s"))
    turn(world)
    serve(world, "candidate", users(5))
    turn(world)
    assert channel(world).stable == name


def test_without_auto_rollout_a_candidate_waits_for_a_person(world):
    with world.store.write() as tx:
        chan = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(chan, policies=replace(chan.policies, auto_rollout=False)))
    a_candidate(world)
    turn(world)
    assert channel(world).rollout is None


def test_a_candidate_waits_for_its_channel_to_log_something(world):
    def log(word):
        with world.store.write() as tx:
            chan = release_rows.get_channel(tx, "support")
            rollouts.change_policies(tx, chan, replace(chan.policies, log=word), world.now, "operator")

    log("off")
    name = a_candidate(world)
    turn(world)
    assert channel(world).rollout is None and release_of(world, name).state == "candidate"
    log("metadata")
    turn(world)
    assert rollout(world).release == name


# emergency stops


def test_an_emergency_stop_becomes_an_audited_abort_once_every_gateway_knows(world):
    name = started(world)
    emergency_stop(world.home, "support", "a person", world.now)
    with world.store.write() as tx:
        fleet_rows.beat(tx, "worker-1", generation(tx), world.now)
    turn(world)
    assert rollout(world).state == "aborted" and release_of(world, name).state == "retired"
    assert "support" in read_emergency(world.home)  # worker-1 has not read the store's word yet
    with world.store.write() as tx:
        fleet_rows.beat(tx, "worker-1", generation(tx), world.now)
    turn(world)
    assert read_emergency(world.home) == {}
    with world.store.read() as tx:
        (row,) = fleet_rows.audit_of(tx, "support")[1:]
    assert row["who"] == "a person" and row["action"] == "emergency_stop"


def test_an_emergency_stop_of_an_unknown_channel_is_taken_out(world):
    emergency_stop(world.home, "nobody", "a person", world.now)
    turn(world)
    assert read_emergency(world.home) == {}


def test_a_damaged_emergency_file_stops_every_channel_and_mends_itself(world):
    name = started(world)
    world.home.emergency.write_text("{")
    turn(world)
    assert rollout(world).state == "aborted" and release_of(world, name).state == "retired"
    turn(world)
    assert read_emergency(world.home) == {} and not world.home.emergency.exists()
    with world.store.read() as tx:
        (row,) = fleet_rows.audit_of(tx, "support")[1:]
    assert row["who"] == "a damaged emergency.json"
