"""Reading a dataset's rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from retrain.rows import SPLITS, answer_tokens, kinds, prompt_tokens, read_rows
from tests.tiny_model import make_tiny_model, write_tiny_dataset
from thumbwheel.errors import JobError

GOOD = {"id": "ex-1", "messages": [{"role": "user", "content": "a"}], "completion": "b", "split": "train"}


def test_only_the_named_splits_are_read(tmp_path: Path) -> None:
    dataset = write_tiny_dataset(tmp_path, train=3, validation=2, test=4)
    assert [row.split for row in read_rows(dataset, ("train", "validation"))] == ["train"] * 3 + ["validation"] * 2
    (first,) = [row for row in read_rows(dataset, ("train",)) if row.id == "ex-000"]
    assert first.completion == "[blue]"
    assert first.messages == ({"role": "user", "content": "0: plum?"},)
    assert (first.group, first.split) == ("g0", "train")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "no JSON object"),
        (json.dumps({**GOOD, "split": "dev"}), "split is 'dev'"),
        (json.dumps({**GOOD, "kind": "dpo"}), "kind is 'dpo'"),
        (json.dumps({**GOOD, "completion": ""}), "lacks completion"),
        (json.dumps({**GOOD, "messages": [{"role": "user"}]}), "messages must be"),
        (json.dumps({**GOOD, "messages": [{"role": "assistant", "content": "a"}]}), "must be the user's"),
        (json.dumps({**GOOD, "completion": 3}), "completion must be text"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(JobError, match=says) as refusal:
        read_rows(tmp_path, ("train",))
    assert "line 2" in str(refusal.value)


def test_thumbs_without_a_correction_are_not_read_and_are_counted(tmp_path: Path) -> None:
    dataset = write_tiny_dataset(tmp_path, train=3, validation=2, test=4)
    before = read_rows(dataset, SPLITS)
    thumb = {**GOOD, "id": "ex-9", "kind": "kto", "label": False, "weight": 1.5}
    with (dataset / "rows.jsonl").open("a") as file:
        file.writelines(json.dumps({**thumb, "split": split}) + "\n" for split in SPLITS)
        file.write(json.dumps({**GOOD, "id": "ex-10"}) + "\n")  # of before there were kinds
    assert [row.id for row in read_rows(dataset, SPLITS)] == [*(row.id for row in before), "ex-10"]
    assert kinds(dataset) == {"sft": 10, "kto": 3, "augmented": 0}
    assert kinds(write_tiny_dataset(tmp_path / "other")) == {"sft": 20, "kto": 0, "augmented": 0}


def test_augmented_rows_are_trained_on_and_counted_apart(tmp_path: Path) -> None:
    dataset = write_tiny_dataset(tmp_path, train=3, validation=2, test=4)
    with (dataset / "rows.jsonl").open("a") as file:
        file.write(json.dumps({**GOOD, "id": "ax-1", "augmented": {"from": "ex-000", "kind": "noise"}}) + "\n")
    read = {row.id: row.augmented for row in read_rows(dataset, ("train",))}
    assert read.pop("ax-1") is True and set(read.values()) == {False} and len(read) == 3
    assert kinds(dataset) == {"sft": 9, "kto": 0, "augmented": 1}


def test_a_folder_without_rows_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no dataset"):
        read_rows(tmp_path, ("train",))


def test_tokens_are_the_served_prompt_and_an_answer_that_ends(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path))
    prompt = prompt_tokens(tokenizer, ({"role": "user", "content": "好?"},))
    assert tokenizer.decode(prompt) == "<|turn|>user\n好?<|end|>\n<|turn|>assistant\n"
    answer = answer_tokens(tokenizer, "红")
    assert tokenizer.decode(answer) == "红<|end|>"
    assert answer[-1] == tokenizer.eos_token_id
