"""The choice of replay and contrast rows, the batches' order, and the base's kept answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from retrain import replay
from retrain.rows import Row
from tests.tiny_model import make_tiny_model
from thumbwheel.errors import JobError

SYSTEMS = ("Be brief.", "Be kind.")


def taught(number: int, system: str | None = None) -> Row:
    turns = [{"role": "user", "content": f"text {number}"}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    return Row(f"ex-{number}", tuple(turns), "answer", f"g{number}", "train")


def test_contrasts_of_rows_without_a_system_prompt_have_one() -> None:
    chosen = replay.contrasts([taught(number) for number in range(10)], SYSTEMS, limit=6, seed=0)
    assert len(chosen) == 6
    assert {prompt.messages[0]["content"] for prompt in chosen} == set(SYSTEMS)
    assert all(prompt.messages[0]["role"] == "system" for prompt in chosen)


def test_contrasts_of_rows_with_a_house_prompt_have_another_or_none() -> None:
    chosen = replay.contrasts([taught(number, "House.") for number in range(9)], SYSTEMS, limit=9, seed=0)
    firsts = Counter(prompt.messages[0]["content"] if len(prompt.messages) == 2 else None for prompt in chosen)
    assert firsts == {None: 3, "Be brief.": 3, "Be kind.": 3}


def test_a_system_prompt_that_is_taught_is_no_contrast() -> None:
    chosen = replay.contrasts([taught(0, "Be kind."), taught(1)], SYSTEMS, limit=2, seed=0)
    assert [prompt.messages[0]["content"] for prompt in chosen] == ["Be brief.", "Be brief."]
    assert replay.contrasts([taught(0, "Be kind."), taught(1)], ("Be kind.",), limit=2, seed=0) == ()


def test_contrasts_depend_on_the_seed_alone() -> None:
    rows = [taught(number) for number in range(40)]
    first, again, other = (replay.contrasts(rows, SYSTEMS, 8, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_rows_held_out_for_validation_are_replay_rows() -> None:
    ids = [*(f"replay-{number}" for number in range(20)), *(f"{replay.CONTRAST}{number}" for number in range(9))]
    references = [replay.Reference(name, (1,), (2,), torch.zeros(1, 4)) for name in ids]
    held = replay.held_out(references, 3, seed=0)
    assert len(set(held)) == 3
    assert all(place < 20 for place in held)
    assert replay.held_out(references, 3, seed=0) == held
    assert len(replay.held_out(references, 24, seed=0)) == 5  # no more than a quarter
    assert replay.held_out([], 24, seed=0) == ()


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 5))
def test_every_row_is_drawn_as_often_as_any_other(size: int, count: int, seed: int) -> None:
    seen = Counter(row for epoch in range(size) for row in replay.drawn(size, count, epoch, seed))
    assert set(seen) == set(range(size))
    assert len(set(seen.values())) == 1  # `size` epochs are a whole number of deals


def test_nothing_is_drawn_from_nothing() -> None:
    assert replay.drawn(0, 5, 0, 0) == replay.drawn(5, 0, 0, 0) == ()


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 1)), max_size=60), st.integers(1, 9))
def test_batched_is_an_order_of_all_rows(rows: list[tuple[int, int]], size: int) -> None:
    order = replay.batched([length for length, _ in rows], [kind for _, kind in rows], size, "seed")
    assert sorted(order) == list(range(len(rows)))


def test_batches_are_alike_in_length_and_hold_both_kinds() -> None:
    lengths = [*range(10, 42), *range(100, 132)]  # 32 short rows of one kind, 32 long ones of the other
    kinds = [0] * 32 + [1] * 32
    order = replay.batched(lengths, kinds, 8, "seed")
    for start in range(0, 64, 8):
        batch = order[start : start + 8]
        assert Counter(kinds[row] for row in batch) == {0: 4, 1: 4}
        for kind in (0, 1):
            alike = [lengths[row] for row in batch if kinds[row] == kind]
            assert max(alike) - min(alike) <= 25
    assert order != replay.batched(lengths, kinds, 8, "another")


def test_a_partial_batch_stays_last() -> None:
    order = replay.batched(list(range(1, 12)), [0] * 11, 4, "seed")
    assert {10, 9}.issubset(order[8:]) or len(order[8:]) == 3
    assert min(order[8:]) > 4


def test_prompts_that_are_none_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    with pytest.raises(JobError, match="No replay prompts"):
        replay.read_prompts(path)
    path.write_text('{"id": "a", "prompt": "Hi?"}\n\n{"id": "b"}\n')
    with pytest.raises(JobError, match=r"replay\.jsonl line 3"):
        replay.read_prompts(path)


def test_logits_that_hidden_states_do_not_give_are_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path))
    replay.refuse_scaled_logits(model.config)
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(JobError, match="final_logit_softcapping"):
        replay.refuse_scaled_logits(model.config)


def test_references_are_the_bases_own_answers_and_distributions(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ("Hi?", "A much longer question, is it?", "你好")
    prompts = [replay.Prompt(text, ({"role": "user", "content": text},)) for text in texts]
    done: list[int] = []
    references = replay.prepare(model, tokenizer, prompts, max_new_tokens=6, batch=2, report=done.append)
    assert done == [2, 3]
    assert [reference.id for reference in references] == list(texts)
    for reference in references:  # alone and unpadded, the model says the same
        ids = torch.tensor([[*reference.prompt, *reference.answer]])
        logits = model(ids).logits[0, len(reference.prompt) - 1 : -1]
        assert logits.argmax(-1).tolist() == list(reference.answer)
        kept = model.get_output_embeddings()(reference.hidden)
        torch.testing.assert_close(kept, logits, atol=1e-4, rtol=1e-4)

    replay.save_references(references, tmp_path / "kept.safetensors")
    loaded = replay.load_references(tmp_path / "kept.safetensors")
    for before, after in zip(references, loaded, strict=True):
        assert (before.id, before.prompt, before.answer) == (after.id, after.prompt, after.answer)
        assert torch.equal(before.hidden, after.hidden)
