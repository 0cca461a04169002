"""The smoke test on the recorded engine in a thread: sound, silent, broken, swapped and absent candidates."""

import json
import math
import os
import resource

import pytest

from deploy.smoke import PROMPTS, Spoken, differs, distance, judge_answers, smoke
from tests.recorded_engine import running
from tests.tiny_recipe import write_adapter, write_bare_model
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.records import Engine, Release


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_bare_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def bench(tmp_path, model):
    """The engine's row, its recorded self, and an artifact store with adapters to be."""
    artifacts = ArtifactStore(tmp_path / "artifacts")
    socket = tmp_path / "e.sock"
    with running(model, socket, tmp_path / "engine", artifacts.root) as engine:
        yield Engine("engine-0", "default", "vllm", str(socket), "base", "inc-1", "ready"), engine, artifacts, tmp_path


def draft(bench, model, behaviour=None, spoil=None):
    _, _, artifacts, folder = bench
    adapter = write_adapter(folder / "adapter", model, behaviour or {})
    if spoil is not None:
        spoil(adapter)
    return release(artifacts.publish(adapter, "adapter", {}))


def release(adapter):
    return Release("rel-1", "support", "candidate", "default", "tiny", adapter, None, None, None, None, 0, 1)


def faults(bench, **fault):
    (bench[3] / "engine" / "faults.json").write_text(json.dumps(fault))


def test_a_sound_candidate_passes_and_says_how_far_it_is_from_the_base(bench, model):
    found = smoke([bench[0]], draft(bench, model), bench[2], model, 32)
    assert found.result == "passed", found
    measured = found.seen["engine-0"]
    assert measured["difference"] > 0.001 and measured["noise"] == 0.0 and len(measured["texts"]) == len(PROMPTS)


def test_files_that_cannot_be_read_just_now_are_waited_for(bench, model):
    candidate = draft(bench, model)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        found = smoke([bench[0]], candidate, bench[2], model, 32)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.result == "waiting" and "Too many open files" in found.reasons[0]
    assert smoke([bench[0]], candidate, bench[2], model, 32).result == "passed"


def test_the_base_itself_only_has_to_speak(bench, model):
    assert smoke([bench[0]], release(None), bench[2], model, 32).result == "passed"


def test_a_silently_served_base_is_found(bench, model, monkeypatch):
    engine = bench[1]
    candidate = draft(bench, model)
    monkeypatch.setitem(engine.adapters, candidate.served_name, engine.model.base)
    found = smoke([bench[0]], candidate, bench[2], model, 32)
    assert found.result == "failed" and "are the base's" in found.reasons[0]


@pytest.mark.parametrize(
    ("fault", "words"),
    [({"text": ""}, "with nothing"), ({"nan": True}, "not finite"), ({"status": 500}, "answered 500")],
)
def test_a_candidate_that_is_no_good_on_the_engine_fails(bench, model, fault, words):
    candidate = draft(bench, model)
    faults(bench, models=["adapter-*"], **fault)
    found = smoke([bench[0]], candidate, bench[2], model, 32)
    assert found.result == "failed" and words in found.reasons[0]


def test_an_engine_that_cannot_serve_its_base_either_is_waited_for(bench, model):
    candidate = draft(bench, model)
    faults(bench, status=500)
    assert smoke([bench[0]], candidate, bench[2], model, 32).result == "waiting"


def test_an_engine_that_is_away_is_waited_for(bench, model, tmp_path):
    away = Engine("engine-1", "default", "vllm", str(tmp_path / "none.sock"), "base", "inc-1", "ready")
    assert smoke([away], draft(bench, model), bench[2], model, 32).result == "waiting"
    assert smoke([], draft(bench, model), bench[2], model, 32).result == "waiting"


def test_files_that_changed_since_they_were_published_fail_before_the_engine_is_asked(bench, model):
    candidate = draft(bench, model)
    weights = bench[2].path(candidate.adapter) / "adapter_model.safetensors"
    os.chmod(weights, 0o600)
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    found = smoke([bench[0]], candidate, bench[2], model, 32)
    assert found.result == "failed" and "not as they were published" in found.reasons[0]
    assert not (bench[3] / "engine" / "requests.jsonl").exists()


def test_an_adapter_of_too_high_a_rank_is_refused_again(bench, model):
    found = smoke([bench[0]], draft(bench, model), bench[2], model, 1)
    assert found.result == "failed" and "rank_too_high" in found.reasons[0]


def spoken(*values, text="hello"):
    return Spoken(text, (-0.1,), values)


def test_the_difference_must_exceed_the_bases_own_noise():
    assert distance([spoken(-1.0, -2.0)], [spoken(-1.5, -2.0)]) == 0.25
    assert differs(0.01, 0.0) and not differs(0.0005, 0.0)
    assert differs(0.31, 0.1) and not differs(0.29, 0.1)


def test_answers_are_judged():
    assert judge_answers([spoken(-1.0)], scored=True) is None
    assert judge_answers([spoken(-1.0, text=" "), spoken(-1.0, text="x")], scored=True) is None
    assert "nothing" in judge_answers([spoken(-1.0, text=" \n")], scored=False)
    assert "finite" in judge_answers([spoken(-1.0, math.nan)], scored=True)
    assert "finite" in judge_answers([Spoken("x", (), ())], scored=True)
