"""The controller's tick with a turned clock, a real store and a scripted job runner; no process is started."""

from concurrent.futures import Executor, Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploy.controller import LEASE_MS, RETAIN_EVERY_MS, Controller, tick
from deploy.jobs import Ended
from deploy.runs import LOG_AWAY_MS, VERBS, Runs
from deploy.smoke import Smoke
from tests.full_disk import no_room
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.emergency import emergency_stop, read_emergency
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import TOPICS, FeedbackEvent, InferenceEvent
from thumbwheel.home import prepare
from thumbwheel.pools import LEASE_MS as LENT_MS
from thumbwheel.pools import holder
from thumbwheel.records import Engine, Policies, Release, Run, Stage
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, ingestion, release_rows
from thumbwheel.store.connection import generation

T0 = 1_795_000_000_000
STAGES = (Stage(20.0, 2, 4, 60.0), Stage(100.0, 2, 4, 60.0))
PASSED = Smoke("passed", ("fine",), {})


class Inline(Executor):
    """Runs what it is given at once."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except OSError as error:
            done.set_exception(error)
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
    store, log = store_in(home.root), SqliteEventLog(home.events)
    settings = Settings(home=home.root, job_attempts=2, restart_pause_s=1.0)
    smokes, archived = [PASSED], []
    me = Controller(
        settings=settings,
        home=home,
        store=store,
        runs=Runs(settings, store, log, ScriptedJobs()),
        holder="controller-a",
        smoke_test=lambda release: smokes[0],
        retain=lambda: archived.append(1) or archived,
        tester=Inline(),
        keeper=Inline(),
    )
    with store.write() as tx:
        fleet_rows.put_engine(tx, Engine("engine-0", "default", "vllm", "/none", "base", "inc-1", "ready"))
        rollouts.create_channel(tx, "support", Policies(stages=STAGES), "tiny", "default", T0, "test")
    world = SimpleNamespace(me=me, store=store, log=log, home=home, jobs=me.runs.jobs, smokes=smokes, now=T0, seen=0)
    world.archived = archived
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
        ingestion.ingest(tx, events, [])


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
    locked = store_in(world.home.root, busy_ms=1)
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


# one thing's fault


class Unforeseen(OSError):
    """Of a kind that nothing is prepared for."""


def unforeseen(*_):
    raise Unforeseen("no such luck")


def another_channel(world, name="another"):
    """A second channel with a candidate; its rollout is older, so a tick comes to it first."""
    with world.store.write() as tx:
        rollouts.create_channel(tx, name, Policies(stages=STAGES), "tiny", "default", T0, "test")
        release = Release(f"rel-{name}", name, "candidate", "default", "tiny", "b" * 64, None, None, None, None, T0, 1)
        release_rows.insert_release(tx, release)
        rollouts.start_rollout(tx, release, None, T0 - 1_000, "test")


def fail(world):
    serve(world, "candidate", users(4), each=2, status="release_error")


def test_a_smoke_test_that_raises_keeps_no_other_rollout_from_being_judged(world, caplog):
    started(world)
    another_channel(world)
    world.me.smoke_test = unforeseen
    fail(world)
    for _ in range(3):
        turn(world)
    assert rollout(world).state == "rolled_back"
    assert caplog.text.count("Traceback") == 1 and "no such luck" in caplog.text
    world.me.smoke_test = lambda release: PASSED
    turn(world)
    with world.store.read() as tx:
        assert release_rows.rollout_of(tx, release_rows.get_channel(tx, "another")).weight == 20.0
    assert world.me.runs.faults == {}


def test_an_emergency_file_that_cannot_be_read_keeps_no_rollout_from_being_judged(world, caplog):
    started(world)
    fail(world)
    world.home.emergency.mkdir()
    turn(world)
    turn(world)
    assert rollout(world).state == "rolled_back" and caplog.text.count("Traceback") == 1


def test_a_run_that_cannot_be_moved_keeps_no_other_and_no_rollout(world):
    a_run(world, "run-1", state="evaluating", attempts=1)
    a_run(world, "run-2")
    start = world.jobs.start
    world.jobs.start = lambda run, verb: {"run-2": start}[run](run, verb)  # a KeyError for the other
    name = a_candidate(world)
    turn(world)
    assert world.jobs.running() == {"run-2": "curate"} and rollout(world).release == name


def test_a_log_that_fails_one_channels_trigger_keeps_no_candidate_from_starting(world):
    with world.store.write() as tx:
        policies = Policies(stages=STAGES, train_after=1)
        rollouts.create_channel(tx, "another", policies, "tiny", "default", T0, "test")
        feedback = FeedbackEvent("fb-1", "chatcmpl-x", "default", "another", T0 + 1, correction="right")
        said = {"tenant": "default", "channel": "another", "unit": "u", "at_ms": T0}
        served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok"}
        asked = [{"role": "user", "content": "question"}]
        inference = InferenceEvent("chatcmpl-x", **said, **served, messages=asked, answer="an answer")
        ingestion.ingest(tx, [inference], [(0, feedback)])
    world.me.runs.log = SimpleNamespace(ends=unforeseen, append=world.log.append)
    name = a_candidate(world)
    turn(world)
    assert list(world.me.runs.faults) == ["the trigger of channel another"] and rollout(world).release == name


# a clock that is set back

HOUR_MS = 3_600_000


def test_another_leads_though_the_clock_was_set_back_after_the_leaders_death(world):
    assert turn(world)
    other = another(world)
    assert tick(other, world.now - HOUR_MS)
    assert not tick(world.me, world.now - HOUR_MS + 2_000)


def test_who_has_waited_for_the_store_takes_no_living_leaders_lease(world):
    assert turn(world)
    assert not tick(another(world), world.now - LEASE_MS)


def test_a_rollout_at_rest_is_judged_though_the_clock_was_set_back(world):
    started(world)
    turn(world)
    world.me.rests[rollout(world).id] = (world.now, 60_000)
    fail(world)
    turn(world)
    assert rollout(world).state == "running", "it rests"
    turn(world, -HOUR_MS)
    assert rollout(world).state == "rolled_back"


def test_what_a_candidate_does_after_the_clock_was_set_back_is_seen(world):
    started(world)
    turn(world, -HOUR_MS)
    fail(world)
    turn(world)
    assert rollout(world).state == "rolled_back"


def test_a_job_is_started_again_though_the_clock_was_set_back_in_its_pause(world):
    a_run(world)
    turn(world)
    world.jobs.end("run-1", -9)
    turn(world, 100)
    assert world.jobs.starts == ["curate"]
    turn(world, -HOUR_MS)
    assert world.jobs.starts == ["curate", "curate"]


def test_a_stop_is_taken_out_though_a_worker_died_before_the_clock_was_set_back(world):
    started(world)
    with world.store.write() as tx:
        fleet_rows.beat(tx, "worker-1", generation(tx), world.now)
    stop(world)
    turn(world, -HOUR_MS)
    assert rollout(world).state == "aborted" and read_emergency(world.home) == {}


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


@pytest.mark.parametrize(("state", "verb"), [("training", "train"), ("evaluating", "evaluate")])
def test_a_killed_job_gives_its_engine_back(world, state, verb):
    a_run(world, state=state, attempts=1)
    turn(world)
    assert world.jobs.starts == [verb]
    with world.store.write() as tx:
        fleet_rows.take_lease(tx, "engine:engine-0", holder(verb, "run-1"), world.now, LENT_MS)
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
        f"nothing went wrong: dataset {'d' * 64} is frozen, which is all that a run can do where an upstream "
        "answers; there is no training, since the weights are not here",
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
        ingestion.ingest(tx, [], list(enumerate(feedback)))


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
    assert run.requested_by == "trigger" and run.positions == {topic: {"0": 0} for topic in TOPICS}
    assert world.jobs.starts == ["curate"]


def test_a_run_that_is_due_waits_for_an_event_log_that_is_away_and_asks_it_seldom(world):
    asked = []

    class Away(SqliteEventLog):
        """A log that answers from the second time on."""

        def ends(self):
            asked.append(world.now)
            if len(asked) == 1:
                raise StoreUnavailable("gone fishing")
            return super().ends()

    with world.store.write() as tx:
        chan = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(chan, policies=replace(chan.policies, train_after=3)))
    correct(world, 3)
    world.me.runs.log = log = Away(world.home.events)
    for _ in range(5):
        assert turn(world), "it leads, and the rest of its ticks goes on"
    assert len(asked) == 1
    turn(world, LOG_AWAY_MS)
    with world.store.read() as tx:
        (run,) = release_rows.runs_of(tx, "support")
    assert run.requested_by == "trigger" and len(asked) == 2
    log.close()


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


def stop(world, action="abort"):
    """What a gateway writes for a person while it cannot reach the store."""
    emergency_stop(world.home, "support", "a person", world.now, action, channel(world).rollout)


def test_an_emergency_stop_becomes_an_audited_abort_once_every_gateway_knows(world):
    name = started(world)
    stop(world)
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
    emergency_stop(world.home, "nobody", "a person", world.now, "abort", "ro-1")
    turn(world)
    assert read_emergency(world.home) == {}


@pytest.mark.parametrize(
    ("action", "ends", "stable"),
    [("pause", "promoted", 1), ("abort", "rolled_back", 0), ("rollback", "rolled_back", 0)],
)
def test_what_was_promoted_before_the_stop_was_read_is_rolled_back_and_not_paused(world, action, ends, stable):
    base, name = channel(world).stable, started(world)
    stop(world, action)
    with world.store.write() as tx:
        rollouts.promote(tx, release_rows.get_rollout(tx, channel(world).rollout), None, world.now, "controller")
    turn(world)
    assert rollout(world).state == ends and channel(world).stable == (base, name)[stable]
    assert read_emergency(world.home) == {}


def test_a_pause_by_file_is_a_pause(world):
    name = started(world)
    stop(world, "pause")
    turn(world)
    assert rollout(world).state == "paused" and rollout(world).weight == 20.0
    assert release_of(world, name).state == "candidate" and read_emergency(world.home) == {}
    stop(world, "pause")
    turn(world)
    assert rollout(world).state == "paused" and read_emergency(world.home) == {}
    with world.store.read() as tx:
        assert [row["action"] for row in fleet_rows.audit_of(tx, "support")] == ["create_channel", "emergency_stop"]


def test_an_old_stop_ends_no_newer_rollout(world):
    started(world)
    stop(world)
    second = a_candidate(world, 2)
    with world.store.write() as tx:
        rollouts.fail_rollout(tx, release_rows.get_rollout(tx, channel(world).rollout), {"reasons": ["bad"]}, world.now)
        rollouts.start_rollout(tx, release_rows.get_release(tx, second), None, world.now, "another person")
    turn(world)
    assert rollout(world).release == second and rollout(world).state == "running"
    assert read_emergency(world.home) == {}


def test_a_stop_that_names_no_rollout_ends_the_one_in_progress_and_leaves_a_promoted_one(world):
    name = started(world)
    world.home.emergency.write_text('{"support": {"who": "a person"}}')
    turn(world)
    assert rollout(world).state == "aborted"
    second = a_candidate(world, 2)
    turn(world)
    turn(world)
    with world.store.write() as tx:
        rollouts.promote(tx, release_rows.get_rollout(tx, channel(world).rollout), None, world.now, "controller")
    world.home.emergency.write_text("{")
    turn(world)
    assert channel(world).stable == second != name and rollout(world).state == "promoted"


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


def test_old_inferences_are_archived_once_an_hour_and_a_fault_there_stops_nothing(world):
    turn(world)
    turn(world)
    assert len(world.archived) == 1
    turn(world, RETAIN_EVERY_MS)
    assert len(world.archived) == 2

    def full():
        world.archived.append(1)
        raise OSError(28, "No space left on device")

    world.me.retain = full
    name = started(world)
    turn(world, RETAIN_EVERY_MS)
    turn(world)
    assert len(world.archived) == 3 and "retention" in world.me.runs.faults
    assert rollout(world).release == name and rollout(world).stage_started_ms is not None
    turn(world, RETAIN_EVERY_MS)
    assert len(world.archived) == 4
