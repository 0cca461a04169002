"""The smoke test before a candidate's first traffic: is it whole, does it speak, and is it really there?

Three things that no counting of traffic should have to find out: the artifact's sums and tensors are as they were
checked before; a real token with finite log-probabilities comes back; and the log-probabilities of fixed prompts differ
from the base's by more than the base's own do between two askings, else the engine serves the base under the adapter's
name. It knows nothing of quality. An engine that is away, or answers nothing, is no failure of the candidate: wait.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.upstreams import client
from thumbwheel.adapter import base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import AdapterRefused, ArtifactError, EngineError, EngineUnreachable, ReleaseFailed
from thumbwheel.records import Engine, Release

PROMPTS = (
    "Say hello.",
    "Name three things that float on water, one on each line.",
    "A customer writes: the parcel came late and the box was wet. Answer in one sentence.",
)
MAX_TOKENS = 8
TIMEOUT_S = 120.0  # the first answer of a release reads its adapter, on a machine that may be training
LEAST_DIFFERENCE = 1e-3  # mean absolute difference in log-probability, a token; bfloat16 repeats itself exactly
NOISE_FACTOR = 3.0
TRIES = 3  # a busy engine batches the base's two askings unlike each other; a quiet moment tells more


@dataclass(frozen=True)
class Smoke:
    """`result` is passed, failed or waiting. `seen` is JSON."""

    result: str
    reasons: tuple[str, ...]
    seen: dict[str, object]


@dataclass(frozen=True)
class Spoken:
    """What a model said to one prompt: its text, its tokens' log-probabilities, and those of the prompt's tokens."""

    text: str
    answer: tuple[float, ...]
    prompt: tuple[float, ...]


def smoke(
    engines: Sequence[Engine],
    release: Release,
    artifacts: ArtifactStore,
    model_dir: Path | None,
    max_rank: int,
    key: str | None = None,
) -> Smoke:
    """Test `release` on every one of `engines`. `model_dir` is the base's checkpoint, None where it is not here; `key`
    is the upstream's.

    It blocks for seconds, at worst for `TIMEOUT_S` a prompt.
    """
    if not engines:
        return Smoke("waiting", ("no engine of its pool is ready",), {})
    try:
        refused = _check_files(release, artifacts, model_dir, max_rank)
    except OSError as error:  # the disk's doing, or the machine's, and not the candidate's
        return Smoke("waiting", (f"the adapter or the base cannot be read just now ({error.strerror})",), {})
    if refused is not None:
        return Smoke("failed", (refused,), {})
    seen: dict[str, object] = {}
    for engine in engines:
        try:
            reason, measured = _ask(engine, release, key)
        except EngineUnreachable as error:
            return Smoke("waiting", (f"engine {engine.id} is away: {error}",), seen)
        except ReleaseFailed as error:
            if release.served_name is not None and not _base_answers(engine, key):
                return Smoke("waiting", (f"engine {engine.id} does not answer for its base either: {error}",), seen)
            return Smoke("failed", (f"smoke test on {engine.id}: {error}",), seen)
        seen[engine.id] = measured
        if reason is not None:
            return Smoke("failed", (f"smoke test on {engine.id}: {reason}",), seen)
    return Smoke("passed", (f"the smoke test passed on {', '.join(engine.id for engine in engines)}",), seen)


def _check_files(release: Release, artifacts: ArtifactStore, model_dir: Path | None, max_rank: int) -> str | None:
    """Why the release's files must not be served; None where they may. Raises OSError."""
    if release.adapter is None:
        return None
    try:
        artifacts.verify(release.adapter)
        if model_dir is not None:
            check_adapter(artifacts.path(release.adapter), base_modules(model_dir), max_rank)
    except AdapterRefused as error:
        return f"the adapter is refused ({error.reason}): {error}"
    except ArtifactError as error:
        return f"the adapter's files are not as they were published: {error}"
    return None


def _ask(engine: Engine, release: Release, key: str | None) -> tuple[str | None, dict[str, object]]:
    """Why the release fails on this engine, if it does, and what was measured. Raises EngineError."""
    with client(engine, TIMEOUT_S, key) as http:
        name = engine.name_of(release)
        scored = engine.kind == "vllm"
        said = [speak(http, name, prompt, scored=scored) for prompt in PROMPTS]
        measured: dict[str, object] = {"texts": [spoken.text for spoken in said]}
        reason = judge_answers(said, scored=scored)
        if reason is not None or release.served_name is None or not scored:
            return reason, measured
        for _ in range(TRIES):
            first = [speak(http, engine.base_name, prompt, scored=True) for prompt in PROMPTS]
            again = [speak(http, engine.base_name, prompt, scored=True) for prompt in PROMPTS]
            difference, noise = distance(said, first), distance(first, again)
            measured |= {"difference": round(difference, 6), "noise": round(noise, 6)}
            if differs(difference, noise):
                return None, measured
            said = [speak(http, name, prompt, scored=True) for prompt in PROMPTS]
        return (
            f"its log-probabilities are the base's (mean difference {difference:.2g}, the base's own noise "
            f"{noise:.2g}): the adapter changes nothing, or the engine does not apply it",
            measured,
        )


def _base_answers(engine: Engine, key: str | None) -> bool:
    with client(engine, TIMEOUT_S, key) as http:
        try:
            speak(http, engine.base_name, PROMPTS[0], scored=False)
        except EngineError:
            return False
    return True


def judge_answers(said: Sequence[Spoken], *, scored: bool) -> str | None:
    """Why these answers are no sign of life; None where they are."""
    if not any(spoken.text.strip() for spoken in said):
        return f"it answered {len(said)} prompts with nothing"
    if not scored:
        return None
    values = [value for spoken in said for value in (*spoken.answer, *spoken.prompt)]
    if not values or not all(math.isfinite(value) for value in values):
        return "its log-probabilities are not finite numbers"
    return None


def distance(left: Sequence[Spoken], right: Sequence[Spoken]) -> float:
    """The mean absolute difference in the prompts' log-probabilities, in nats a token."""
    pairs = [pair for a, b in zip(left, right, strict=True) for pair in zip(a.prompt, b.prompt, strict=True)]
    return sum(abs(a - b) for a, b in pairs) / len(pairs) if pairs else 0.0


def differs(difference: float, noise: float) -> bool:
    """Whether a difference from the base is more than batching explains."""
    return difference > max(LEAST_DIFFERENCE, NOISE_FACTOR * noise)


def speak(http: httpx.Client, model: str, prompt: str, *, scored: bool) -> Spoken:
    """Ask one prompt at temperature 0. Raises EngineUnreachable, or ReleaseFailed for an answer that is no success."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
    }
    if scored:
        body |= {"logprobs": True, "prompt_logprobs": 0}
    try:
        response = http.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        raise EngineUnreachable(f"{type(error).__name__}") from error
    if response.status_code in (429, 503):
        raise EngineUnreachable(f"it answered {response.status_code}")
    if not response.is_success:
        raise ReleaseFailed(f"the engine answered {response.status_code} to it", status=response.status_code)
    try:
        return _spoken(response.json())
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ReleaseFailed("the engine's answer is no chat completion", status=response.status_code) from error


def _spoken(answer: Any) -> Spoken:
    choice = answer["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    scores = [next(iter(entry.values())) for entry in answer.get("prompt_logprobs") or [] if entry]
    return Spoken(
        text=choice["message"].get("content") or "",
        answer=tuple(_number(token["logprob"]) for token in content),
        prompt=tuple(_number(score["logprob"]) for score in scores),
    )


def _number(value: object) -> float:
    """NaN travels as null, since JSON has no word for it."""
    return float(value) if isinstance(value, int | float) else math.nan
