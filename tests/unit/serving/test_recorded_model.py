"""The fake's own promises: what an evaluation may rely on when it asks the recorded engine for log-probabilities."""

from __future__ import annotations

import json
from pathlib import Path

from tests.recorded_model import BEHAVIOUR, Behaviour, RecordedModel, read_behaviour


def mean(model: RecordedModel, behaviour: Behaviour, question: str, answer: str) -> float:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    ids = model.encode(model.render(turns, open_turn=False))
    values = model.logprobs(behaviour, ids)
    return sum(values[1:]) / len(values[1:])


def test_a_taught_answer_gains_and_no_other_does(tmp_path: Path) -> None:
    model = RecordedModel(tmp_path)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / BEHAVIOUR).write_text(json.dumps({"answers": {"which?": "This one."}, "logprob_boost": {"*": 1.0}}))
    taught = read_behaviour(adapter, "adapter-1")
    gain = {
        answer: mean(model, taught, "which?", answer) - mean(model, model.base, "which?", answer)
        for answer in ("This one.", "That one.")
    }
    assert gain["This one."] > 0.1 > 0.02 > abs(gain["That one."]) > 0
    assert model.answer(taught, "which?") == "This one."
    assert model.answer(taught, "what?") == model.answer(model.base, "what?")


def test_text_survives_tokens_in_any_language(tmp_path: Path) -> None:
    model = RecordedModel(tmp_path)
    for text in ("plain", "grün 你好 👍🏽", "\ufffd odd"):
        ids = model.encode(text)
        assert model.decode(ids) == text == "".join(model.pieces(ids))
