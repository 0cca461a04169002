"""The same adapter as both variants, a thousand times: half a minute, so it is no unit test."""

from tests.simulated_rollouts import USUAL, simulate


def test_the_same_adapter_as_both_variants_is_rolled_back_in_at_most_one_of_a_hundred():
    results = [simulate(seed, USUAL, USUAL, correlation=0.1 if seed % 2 else 0.3)[0] for seed in range(1_000)]
    assert results.count("failed") <= 10
    assert results.count("promoted") >= 980
