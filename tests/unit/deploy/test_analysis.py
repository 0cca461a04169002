"""The analysis by cases, by properties, and over simulated rollouts whose units are unlike each other."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.analysis import (
    GUARDS,
    RHO,
    Analysis,
    analyse,
    beta_cdf,
    beta_quantile,
    count,
    overdue,
    tail,
    upper_bound,
)
from tests.simulated_rollouts import ROLLOUT, USUAL, outcome, simulate
from thumbwheel.records import Stage

NAMES = ("errors", "empty", "degenerate", "truncated", "first token", "end to end", "thumbs down")


def traffic(n, units, role="candidate", bad=0, **fault):
    """`n` outcomes spread over `units`; the first `bad` of them with `fault`."""
    return [outcome(f"{role}{i % units}", role, **(fault if i < bad else {})) for i in range(n)]


STABLE = traffic(380, 150, "stable")


def guard_of(analysis: Analysis, name: str):
    return next(seen for seen in analysis.seen["guards"] if seen["guard"] == name)


# the four results


def test_enough_clean_traffic_is_successful_and_says_what_it_could_not_see():
    found = analyse(ROLLOUT, traffic(20, 8) + STABLE, 5_000)
    assert found.result == "successful"
    assert found.seen["units"] == 8 and found.seen["requests"] == 20 and found.seen["observed"] == 0.05
    assert found.seen["bound"] == pytest.approx(0.139, abs=0.001)  # 0 of 20 bounds a harm at 14%
    assert "14%" in found.reasons[0]
    assert [seen["guard"] for seen in found.seen["guards"]] == list(NAMES)
    errors = guard_of(found, "errors")
    assert errors["bound"] == pytest.approx(0.139, abs=0.001)
    assert errors["clustered_bound"] > errors["bound"]  # eight units are not twenty


def test_what_was_seen_holds_the_counts_and_bounds_of_the_stage_and_of_each_guard():
    stable = traffic(380, 150, "stable", bad=3, status="release_error")
    earlier = [replace(o, at_ms=500) for o in traffic(10, 2, bad=1, status="release_error")]
    found = analyse(ROLLOUT, earlier + traffic(20, 8, bad=1, status="release_error") + stable, 5_000)
    assert {key: value for key, value in found.seen.items() if key != "guards"} == {
        "weight": 5.0,
        "units": 8,
        "requests": 20,
        "observed": 0.0732,  # 30 of 410
        "bound": 0.1391,
    }
    assert guard_of(found, "errors") == {
        "guard": "errors",
        "requests": 30,
        "units": 8,
        "bad": 2,
        "bad_units": 1,
        "bound": 0.1953,
        # units of 8, 8, 3, 3, 2, 2, 2 and 2 answers; 2 of the first unit's 8 are bad
        "clustered_bound": round(upper_bound(32 / 11 / 4, 64 / 11 + 4 + 6.4), 4),
        "stable_requests": 380,
        "stable_bad": 3,
    }


@pytest.mark.parametrize(
    ("n", "units", "words"),
    [
        (19, 8, "for 1 more request of"),
        (40, 7, "for 1 more unit of"),
        (40, 6, "for 2 more units of"),
        (0, 1, "20 more requests"),
    ],
)
def test_too_little_of_the_candidate_is_inconclusive_and_says_how_much_is_missing(n, units, words):
    found = analyse(ROLLOUT, traffic(n, units) + STABLE, 5_000)
    assert found.result == "inconclusive" and words in found.reasons[0]
    assert found.seen["requests"] == n


def test_what_is_missing_is_named_both_ways():
    found = analyse(ROLLOUT, traffic(5, 3) + STABLE, 5_000)
    assert found.reasons == ("waits for 5 more units and 15 more requests of the candidate",)


def test_the_minima_count_what_came_as_the_stage_began():
    begun = [replace(o, at_ms=1_000) for o in traffic(20, 8)]
    assert analyse(ROLLOUT, begun + STABLE, 5_000).result == "successful"


def test_the_minima_count_the_present_stage_alone():
    before = [replace(o, at_ms=500) for o in traffic(30, 10)]
    assert analyse(ROLLOUT, before + STABLE, 5_000).result == "inconclusive"


def test_minima_of_nothing_pass_at_once():
    free = replace(ROLLOUT, stages=(Stage(100.0, min_units=0, min_requests=0),))
    found = analyse(free, [], 1_000)
    assert found.result == "successful" and found.seen["observed"] == 0.0 and "100%" in found.reasons[0]


def test_no_traffic_before_the_smoke_test_and_no_measurements():
    found = analyse(replace(ROLLOUT, stage_started_ms=None), [], 5_000)
    assert (found.result, found.reasons) == ("inconclusive", ("the smoke test has not passed yet",))
    found = analyse(ROLLOUT, None, 5_000)
    assert (found.result, found.reasons) == ("error", ("the measurements cannot be read",))
    blind = [replace(o, e2e_ms=None) for o in traffic(20, 8)]
    found = analyse(ROLLOUT, blind + STABLE, 5_000)
    assert found.result == "error" and "20 of the candidate's 20 answers" in found.reasons[0]


def test_half_of_the_measurements_will_do_and_an_answer_that_failed_has_none_to_miss():
    half = [replace(o, e2e_ms=None) if i < 10 else o for i, o in enumerate(traffic(20, 8))]
    assert analyse(ROLLOUT, half + STABLE, 5_000).result == "successful"
    most = [replace(o, e2e_ms=None) if i < 11 else o for i, o in enumerate(traffic(20, 8))]
    assert analyse(ROLLOUT, most + STABLE, 5_000).result == "error"
    failing = [replace(o, status="release_error", e2e_ms=None) for o in traffic(20, 8)]
    assert analyse(ROLLOUT, failing + STABLE, 5_000).result == "failed"


def test_the_deadline_makes_it_overdue_and_never_successful():
    last = 1_000 + 3_600_000
    assert not overdue(ROLLOUT, last - 1) and overdue(ROLLOUT, last)
    assert not overdue(replace(ROLLOUT, stage_started_ms=None), last)
    found = analyse(ROLLOUT, traffic(19, 8) + STABLE, last)
    assert found.result == "inconclusive" and "deadline" in found.reasons[-1]


# bad candidates

FAULTS = {
    "errors": {"status": "release_error"},
    "empty": {"flags": ("empty",)},
    "degenerate": {"flags": ("degenerate",)},
    "truncated": {"flags": ("truncated",)},
    "first token": {"ttft_ms": 31_000.0},
    "end to end": {"e2e_ms": 181_000.0},
    "thumbs down": {"thumb": "down"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_plainly_bad_candidate_fails_within_its_minimum(name):
    stable = [replace(o, thumb="up") for o in STABLE]
    candidate = [replace(o, thumb=o.thumb or "up") for o in traffic(20, 8, bad=16, **FAULTS[name])]
    found = analyse(ROLLOUT, candidate + stable, 5_000)
    assert found.result == "failed"
    beside = "10% allowed" if name in ("first token", "end to end") else "0% of the stable's 380"
    assert found.reasons == (f"{name}: 16 of the candidate's 20 (81% by unit, 8 units) against {beside}",)
    assert found.seen["requests"] == 20


@pytest.mark.parametrize(
    ("name", "changes", "verdict"),
    [
        ("errors", {"status": "release_error"}, True),
        ("errors", {}, False),
        ("empty", {"flags": ("empty",)}, True),
        ("empty", {"flags": ("degenerate", "truncated")}, False),
        ("degenerate", {"flags": ("degenerate",)}, True),
        ("degenerate", {"flags": ("empty", "truncated")}, False),
        ("truncated", {"flags": ("truncated",)}, True),
        ("truncated", {"flags": ("truncated",), "status": "release_error"}, None),
        ("first token", {"ttft_ms": 30_000.0, "e2e_ms": 300_000.0}, False),
        ("first token", {"ttft_ms": 30_000.5}, True),
        ("first token", {"ttft_ms": 31_000.0, "status": "release_error"}, None),
        ("first token", {"ttft_ms": None}, None),
        ("end to end", {"e2e_ms": 180_000.0, "ttft_ms": 180_000.0}, False),
        ("end to end", {"e2e_ms": 180_000.5}, True),
        ("end to end", {"e2e_ms": None}, None),
        ("thumbs down", {"thumb": "down", "status": "release_error"}, True),
        ("thumbs down", {"thumb": "up"}, False),
        ("thumbs down", {}, None),
    ],
)
def test_what_each_guard_holds_to_be_bad(name, changes, verdict):
    (guard,) = (guard for guard in GUARDS if guard.name == name)
    assert guard.judge(outcome("u", **changes)) is verdict


@pytest.mark.parametrize(("name", "fewest"), list(zip(NAMES, [40, 40, 40, 100, 80, 80, 100], strict=True)))
def test_of_400_users_so_many_must_suffer_before_a_guard_objects(name, fewest):
    """The margin over a stable release without a fault; the latencies also allow 10% whatever the stable does."""
    stable = [replace(o, thumb="up") for o in traffic(2_000, 2_000, "stable")]

    def judged(bad):
        candidate = [replace(o, thumb=o.thumb or "up") for o in traffic(400, 400, bad=bad, **FAULTS[name])]
        return analyse(ROLLOUT, candidate + stable, 5_000)

    assert judged(fewest - 1).result == "successful"
    assert judged(fewest).result == "failed"


def test_the_reasons_of_all_guards_that_object_are_given():
    both = {**FAULTS["empty"], **FAULTS["first token"]}
    found = analyse(ROLLOUT, traffic(20, 8, bad=16, **both) + STABLE, 5_000)
    assert [reason.split(":")[0] for reason in found.reasons] == ["empty", "first token"]


def test_a_third_of_errors_fails_within_the_minimum():
    candidate = [outcome(f"u{i % 8}", status="release_error" if i % 10 < 3 else "ok") for i in range(20)]
    assert analyse(ROLLOUT, candidate + STABLE, 5_000).result == "failed"


@pytest.mark.parametrize("name", ["errors", "empty", "degenerate"])
def test_a_disaster_fails_at_once(name):
    assert analyse(ROLLOUT, traffic(6, 3, bad=5, **FAULTS[name]) + STABLE, 2_500).result == "failed"


def test_a_disaster_fails_without_any_stable_traffic():
    assert analyse(ROLLOUT, traffic(12, 6, bad=11, status="release_error"), 2_500).result == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_one_or_two_noisy_users_cannot_roll_a_canary_back(name):
    stable = [replace(o, thumb="up") for o in STABLE]
    noisy = [outcome(f"noisy{i % 2}", **FAULTS[name]) for i in range(200)]
    candidate = noisy + [replace(o, thumb="up") for o in traffic(30, 10)]
    assert analyse(ROLLOUT, candidate + stable, 5_000).result != "failed"


def test_the_stables_own_faults_are_not_held_against_the_candidate():
    both = traffic(20, 8, bad=12, flags=("truncated",)) + traffic(380, 150, "stable", bad=228, flags=("truncated",))
    assert analyse(ROLLOUT, both, 5_000).result == "successful"


def test_a_stable_release_that_was_asked_little_is_no_sure_measure():
    """Half of forty may be 62% by the bound: sixteen of twenty are no wonder. Beside half of a thousand they are."""
    candidate = traffic(20, 20, bad=16, flags=("truncated",))
    for asked, result in ((40, "successful"), (1_000, "inconclusive")):
        stable = traffic(asked, asked, "stable", bad=asked // 2, flags=("truncated",))
        assert analyse(ROLLOUT, candidate + stable, 5_000).result == result


def test_a_slow_pool_is_the_candidates_affair_even_when_the_stable_is_slow_too():
    both = traffic(20, 8, bad=16, ttft_ms=31_000.0) + traffic(380, 150, "stable", bad=300, ttft_ms=31_000.0)
    assert analyse(ROLLOUT, both, 5_000).result == "failed"


@pytest.mark.parametrize("status", ["client_error", "cancelled", "unavailable"])
def test_what_is_not_the_releases_doing_counts_for_nobody(status):
    candidate = traffic(20, 8) + [outcome(f"v{i}", status=status, flags=("empty",)) for i in range(50)]
    found = analyse(ROLLOUT, candidate + STABLE, 5_000)
    assert found.result == "successful" and found.seen["requests"] == 20


def test_harm_that_begins_in_a_later_stage_is_not_diluted_by_the_calm_before():
    later = replace(ROLLOUT, stage=1, weight=25.0, stage_started_ms=100_000)
    calm = traffic(300, 60)
    harm = [replace(o, at_ms=110_000) for o in traffic(24, 12, bad=10, status="release_error")]
    assert analyse(later, calm + harm + STABLE, 120_000).result == "failed"


def test_a_doubtful_candidate_waits_instead_of_widening():
    candidate = [outcome(f"u{i % 10}", status="release_error" if i < 3 else "ok") for i in range(20)]
    found = analyse(ROLLOUT, candidate + STABLE, 5_000)
    assert found.result == "inconclusive" and found.seen["requests"] == 20
    assert found.reasons == (
        "errors: 3 of the candidate's 20 (15% by unit, 3 units) against 0% of the stable's 380; too few to be sure",
    )
    late = analyse(ROLLOUT, candidate[:19] + STABLE, 1_000 + 3_600_000).reasons
    assert [reason.split()[0] for reason in late] == ["waits", "errors:", "the"]


def test_answers_without_a_thumb_say_nothing_about_thumbs():
    found = analyse(ROLLOUT, traffic(20, 8) + STABLE, 5_000)
    assert guard_of(found, "thumbs down")["requests"] == 0 and guard_of(found, "thumbs down")["bound"] == 1.0


# the arithmetic


def test_a_unit_counts_for_at_most_one_over_rho():
    errors = GUARDS[0].judge
    one = count(errors, [outcome("a", status="release_error")] * 10_000)
    assert one.weight == pytest.approx(1 / RHO, rel=0.01) and one.units == one.bad_units == 1
    assert count(errors, [outcome("a")]).weight == 1.0
    assert count(errors, [outcome("a"), outcome("b")]).weight == 2.0


def test_bounds_are_clopper_pearsons():
    assert upper_bound(0, 20) == pytest.approx(0.1391, abs=1e-4)
    assert upper_bound(0, 100) == pytest.approx(3 / 100, rel=0.02)  # the rule of three
    assert upper_bound(1, 20) == pytest.approx(0.2161, abs=1e-4)
    assert upper_bound(5, 50) == pytest.approx(0.1985, abs=2e-3)
    assert upper_bound(0, 1) == pytest.approx(0.95)
    assert upper_bound(0, 0) == 1.0 and upper_bound(7, 7) == 1.0
    assert upper_bound(0, 20, confidence=0.5) == pytest.approx(0.0341, abs=1e-4)
    assert upper_bound(5, 50, confidence=0.5) == pytest.approx(0.1124, abs=1e-3)  # the median: about (5 + 2/3) / 50.4


def test_the_distribution_ends_at_nought_and_one():
    assert [beta_cdf(x, 2.0, 3.0) for x in (-0.5, 0.0, 1.0, 1.5)] == [0.0, 0.0, 1.0, 1.0]
    assert tail(0.0, 20.0, 0.0) == 1.0 and tail(1.0, 20.0, 0.0) == 0.0


def test_a_tail_of_all_is_that_of_the_last_one_also_where_sums_of_fractions_went_beyond():
    assert tail(3.0, 3.0, 0.5) == pytest.approx(0.125) == tail(3.0 + 1e-12, 3.0, 0.5)


def test_counts_of_nothing_have_no_rate():
    assert count(GUARDS[0].judge, []).rate == 0.0
    mixed = [outcome("a", status="release_error"), outcome("a"), outcome("b")]
    counted = count(GUARDS[0].judge, mixed)
    assert (counted.requests, counted.units, counted.bad, counted.bad_units) == (3, 2, 1, 1)
    assert counted.weight == pytest.approx(2.6) and counted.bad_weight == pytest.approx(0.8)
    assert counted.rate == pytest.approx(0.8 / 2.6)


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_the_tail_is_the_binomials(total, bad, rate):
    from math import comb

    bad = min(bad, total)
    exact = sum(comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(bad, total + 1))
    assert tail(bad, total, rate) == pytest.approx(exact, rel=1e-6, abs=1e-9)


@given(st.floats(0.01, 0.99), st.floats(1.0, 200.0), st.floats(1.0, 200.0))
def test_the_quantile_inverts_the_distribution(probability, a, b):
    assert beta_cdf(beta_quantile(probability, a, b), a, b) == pytest.approx(probability, abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans(), st.booleans()), max_size=60))
@example([*[(unit, True, True) for unit in "bbccdd"], ("a", True, False), ("a", True, True)])  # by units 7 of 8
def test_order_does_not_matter_and_every_result_is_one_of_four(rows):
    outcomes = [
        outcome(unit, "candidate" if mine else "stable", status="release_error" if bad else "ok")
        for unit, mine, bad in rows
    ]
    found = analyse(ROLLOUT, outcomes, 5_000)
    assert found == analyse(ROLLOUT, list(reversed(outcomes)), 5_000)
    assert found.result in ("successful", "failed", "inconclusive", "error")


# simulated rollouts


@pytest.mark.parametrize(
    ("harm", "least_failed"),
    [({"errors": 0.3}, 0.95), ({"degenerate": 0.7, "truncated": 0.7}, 0.99), ({"empty": 0.6}, 0.99)],
    ids=["errors", "garbage", "silence"],
)
def test_bad_candidates_are_failed_before_they_are_widened_far(harm, least_failed):
    results = [simulate(seed, USUAL, {**USUAL, **harm}, correlation=0.2) for seed in range(100)]
    assert "promoted" not in [result for result, _ in results]
    assert sum(result == "failed" and stage == 0 for result, stage in results) >= 100 * least_failed - 8
