"""A release keeps its log-probabilities whoever shares its batch: the base, and each of two adapters.

Two things are measured. Scoring a given text (prefill) and decoding. Decoding one request alone and several together
takes different matrix kernels, so log-probabilities move even when all of a batch ask the same release: that is the
backend's batching noise, and it is measured here for each release before mixing is held against it. In bfloat16 the
logits themselves come in steps (1/8 between 16 and 32, 1/4 above), which is where single differences of 0.1 to 0.3 and
changed greedy choices between near-equal tokens come from.

The fault that this guards against gives a base request the adapter of the last slot, so all slots are filled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.engine import EngineSettings
from tests.real_engine import Greedy, RealEngine, greedy, prompt_logprobs, random_lora, together, write_adapter
from thumbwheel.adapter import BaseModules

pytestmark = pytest.mark.vllm

TEXTS = (
    "The capital of France is Paris, and the capital of Italy is Rome. Both cities are old.",
    "I washed the shirt once and the colour faded. Please send me a new one or return the money.",
    "Once upon a time there was a small fox who lived at the edge of a forest and feared the dark.",
    "Seven times eight is fifty-six. Nine times nine is eighty-one. Twelve times twelve is more.",
)
LENGTH = 12  # tokens decoded
COPIES = 1 + EngineSettings.max_loras  # a release's own batch is as wide as the mixed one
# Mixing may not add to the noise. Which requests meet in a step varies, so the noise itself does too, by this much.
SLACK = 1.5
EXACT = 1e-3  # log-probabilities travel as decimal text


@pytest.fixture(scope="module")
def releases(engine: RealEngine, base: BaseModules, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The base, a weak and a strong adapter, and as many that garble as fill the other slots."""
    folder = tmp_path_factory.mktemp("adapters")
    tensors = [random_lora(base, 1, 0.03), random_lora(base, 2, 0.15, ("q_proj", "v_proj", "down_proj"))]
    tensors += [random_lora(base, 10 + seed, 0.3) for seed in range(EngineSettings.max_loras - 2)]
    adapters = [write_adapter(folder / str(number), base, each) for number, each in enumerate(tensors)]
    return ("base", *map(engine.publish, adapters))


async def test_scoring_a_text_is_the_same_alone_and_mixed(engine: RealEngine, releases: tuple[str, ...]) -> None:
    async with engine.async_client() as client:
        alone = {release: [await prompt_logprobs(client, release, text) for text in TEXTS] for release in releases}
        own = {
            release: await together(*(prompt_logprobs(client, release, text) for text in TEXTS * COPIES))
            for release in releases
        }
        asked = [(release, index) for index in range(len(TEXTS)) for release in releases]
        got = await together(*(prompt_logprobs(client, release, TEXTS[index]) for release, index in asked))

    for first, second in combinations(releases, 2):  # else the comparison below would prove nothing
        assert distance(alone[first], alone[second]).mean() > 0.1
    for release in releases:
        noise = distance(alone[release] * COPIES, own[release])
        mixed = [got[place] for place, (who, _) in enumerate(asked) if who == release]
        moved = distance(alone[release], mixed)
        print(f"{release[:14]} scored: noise max {noise.max():.4f}, mixed max {moved.max():.4f}")
        assert moved.max() <= max(EXACT, SLACK * noise.max())
        assert moved.mean() <= max(EXACT, SLACK * noise.mean())


def distance(first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.abs(np.concatenate(first) - np.concatenate(second))


async def test_decoding_is_the_same_alone_and_mixed(engine: RealEngine, releases: tuple[str, ...]) -> None:
    measured = releases[:3]
    async with engine.async_client() as client:
        alone = {release: [await greedy(client, release, text, LENGTH) for text in TEXTS] for release in measured}
        own = {
            release: await together(*(greedy(client, release, text, LENGTH) for text in TEXTS * COPIES))
            for release in measured
        }
        asked = [(release, index) for index in range(len(TEXTS)) for release in releases]
        got = await together(*(greedy(client, release, TEXTS[index], LENGTH) for release, index in asked))

    noise_of_base, _ = compare(alone["base"] * COPIES, own["base"])
    for release in measured:
        noise, _ = compare(alone[release] * COPIES, own[release])
        moved, leads = compare(alone[release], [got[place] for place, (who, _) in enumerate(asked) if who == release])
        print(
            f"{release[:14]} decoded: noise mean {noise.mean():.4f} max {noise.max():.3f}, "
            f"mixed mean {moved.mean():.4f} max {moved.max():.3f} over {len(moved)} tokens, parted at leads {leads}"
        )
        assert len(moved) >= len(TEXTS) * LENGTH / 4  # enough was compared
        assert moved.mean() <= max(EXACT, SLACK * max(noise.mean(), noise_of_base.mean()))
        assert moved.max() <= max(EXACT, SLACK * max(noise.max(), noise_of_base.max()))
        # Where the greedy choice parted, its lead was no more than both of the two best could move.
        assert all(lead <= 2 * SLACK * max(noise.max(), noise_of_base.max(), 0.25) for lead in leads)


def compare(first: Sequence[Greedy], second: Sequence[Greedy]) -> tuple[NDArray[np.float64], list[float]]:
    """Differences of log-probability as long as the tokens agree, and the lead of the first choice where they part."""
    differences, leads = [], []
    for one, other in zip(first, second, strict=True):
        same = next((n for n, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=True)) if a != b), LENGTH)
        differences.append(np.abs(one.logprobs[:same] - other.logprobs[:same]))
        leads.extend(one.leads[same : same + 1].tolist())
    return np.array(list(chain.from_iterable(differences))), leads
