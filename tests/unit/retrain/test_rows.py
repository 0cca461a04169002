"""Reading a dataset's rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from retrain.rows import answer_tokens, prompt_tokens, read_rows
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
