"""The forms of training data, held to the keys that LLaMA-Factory and trl document."""

from __future__ import annotations

from typing import Any

import pytest

from feedback.forms import (
    ALPACA,
    FORMS,
    HF,
    JSONL,
    KTO,
    PREFERENCE,
    SFT,
    SHAREGPT,
    Row,
    described,
    form_of,
    is_a,
    read_row,
    said_as,
)

ROW: dict[str, Any] = {
    "id": "ex-1",
    "kind": "sft",
    "messages": [
        {"role": "system", "content": "你是客服。"},
        {"role": "user", "content": "衣服褪色了"},
        {"role": "assistant", "content": "您好，请问订单号？"},
        {"role": "user", "content": "[PHONE_1] 的那单，能退吗"},
    ],
    "completion": "可以退，运费我们承担。",
    "rejected": "不能退。",
    "split": "train",
}
AS_ROW = Row(tuple(ROW["messages"]), "可以退，运费我们承担。")
AS_PAIR = Row(tuple(ROW["messages"]), "可以退，运费我们承担。", "不能退。")


def without_system(*messages: tuple[str, str]) -> dict[str, Any]:
    return {**ROW, "messages": [{"role": role, "content": text} for role, text in messages]}


def test_sharegpt_has_conversations_of_human_and_gpt_with_a_system_of_its_own() -> None:
    assert said_as(SHAREGPT, SFT, ROW) == {
        "id": "ex-1",
        "system": "你是客服。",
        "conversations": [
            {"from": "human", "value": "衣服褪色了"},
            {"from": "gpt", "value": "您好，请问订单号？"},
            {"from": "human", "value": "[PHONE_1] 的那单，能退吗"},
            {"from": "gpt", "value": "可以退，运费我们承担。"},
        ],
    }


def test_a_sharegpt_preference_ends_with_the_question_and_has_both_answers_beside_it() -> None:
    said = said_as(SHAREGPT, PREFERENCE, ROW)
    assert said is not None
    assert [turn["from"] for turn in said["conversations"]] == ["human", "gpt", "human"]
    assert said["chosen"] == {"from": "gpt", "value": "可以退，运费我们承担。"}
    assert said["rejected"] == {"from": "gpt", "value": "不能退。"}


def test_alpaca_has_the_last_question_for_instruction_and_pairs_for_history() -> None:
    said = {"id": "ex-1", "instruction": "[PHONE_1] 的那单，能退吗", "input": "", "system": "你是客服。"}
    said["history"] = [["衣服褪色了", "您好，请问订单号？"]]  # type: ignore[assignment]
    assert said_as(ALPACA, SFT, ROW) == {**said, "output": "可以退，运费我们承担。"}
    assert said_as(ALPACA, PREFERENCE, ROW) == {**said, "chosen": "可以退，运费我们承担。", "rejected": "不能退。"}
    alone = said_as(ALPACA, SFT, without_system(("user", "能退吗")))
    assert alone is not None and (alone["system"], alone["history"]) == ("", [])


def test_hf_has_prompt_and_completion_as_trl_reads_them() -> None:
    told = [{"role": "assistant", "content": "可以退，运费我们承担。"}]
    assert said_as(HF, SFT, ROW) == {"id": "ex-1", "prompt": ROW["messages"], "completion": told}
    pair = {"chosen": told, "rejected": [{"role": "assistant", "content": "不能退。"}]}
    assert said_as(HF, PREFERENCE, ROW) == {"id": "ex-1", "prompt": ROW["messages"], **pair}


@pytest.mark.parametrize(
    "messages",
    [
        [("user", "在吗"), ("user", "能退吗")],
        [("assistant", "您好"), ("user", "能退吗")],
        [("system", "甲"), ("system", "乙"), ("user", "能退吗")],
        [("user", "在吗"), ("system", "今天是周一"), ("user", "能退吗")],
        [("user", "在吗"), ("assistant", "您好"), ("assistant", "还在吗"), ("user", "能退吗")],
        [],
    ],
)
def test_what_llama_factory_would_skip_is_not_said_in_its_forms(messages: list[tuple[str, str]]) -> None:
    row = without_system(*messages)
    assert said_as(SHAREGPT, SFT, row) is None and said_as(ALPACA, SFT, row) is None
    assert said_as(HF, SFT, row) is not None


def test_which_rows_are_of_which_kind() -> None:
    alone, thumb = {**ROW, "rejected": None}, {**ROW, "kind": "kto", "label": True}
    assert [[is_a(kind, row) for kind in (SFT, PREFERENCE, KTO)] for row in (ROW, alone, thumb)] == [
        [True, True, False],
        [True, False, False],
        [False, False, True],
    ]


def test_a_thumb_is_said_with_whether_it_was_liked() -> None:
    thumb = {**ROW, "kind": "kto", "label": False}
    said = {form: said_as(form, KTO, thumb) for form in (SHAREGPT, ALPACA, HF)}
    assert all(one is not None for one in said.values())
    assert [one and one.get("kto_tag") for one in said.values()] == [False, False, None]
    assert said[HF] is not None and said[HF]["label"] is False
    for form in (SHAREGPT, ALPACA):
        told = described(form, KTO, "x")
        assert told is not None and told["columns"]["kto_tag"] == "kto_tag" and "ranking" not in told
    assert all("a thumb" in str(read_row(one)) for one in said.values())


def test_what_dataset_info_says() -> None:
    assert described(SHAREGPT, SFT, "train.json") == {
        "file_name": "train.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system"},
    }
    assert described(ALPACA, PREFERENCE, "train.json") == {
        "file_name": "train.json",
        "formatting": "alpaca",
        "ranking": True,
        "columns": {
            "prompt": "instruction",
            "query": "input",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "history": "history",
        },
    }
    pair = described(SHAREGPT, PREFERENCE, "x.json")
    assert pair is not None and pair["ranking"] and {"chosen", "rejected"} <= set(pair["columns"])
    assert described(HF, SFT, "train.jsonl") is None
    for form in (SHAREGPT, ALPACA):
        for kind in (SFT, PREFERENCE):
            told, said = described(form, kind, "x"), said_as(form, kind, ROW)
            assert told is not None and said is not None and set(told["columns"].values()) <= set(said)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [SFT, PREFERENCE])
def test_what_is_said_is_read_as_it_was(form: str, kind: str) -> None:
    said = said_as(form, kind, ROW)
    assert said is not None and form_of(said) == form
    assert read_row(said) == read_row(said, form) == (AS_PAIR if kind == PREFERENCE or form == JSONL else AS_ROW)


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (
            {"conversations": [{"from": "human", "value": "能退吗"}, {"from": "gpt", "value": "能"}], "extra": 1},
            Row(({"role": "user", "content": "能退吗"},), "能"),
        ),
        (
            {"conversations": [{"role": "user", "content": "能退吗"}, {"role": "assistant", "content": "能"}]},
            Row(({"role": "user", "content": "能退吗"},), "能"),
        ),
        (
            {
                "system": "甲",
                "conversations": [
                    {"from": "system", "value": "乙"},
                    {"from": "user", "value": "在"},
                    {"from": "assistant", "value": "嗯嗯"},
                ],
            },
            Row(({"role": "system", "content": "乙"}, {"role": "user", "content": "在"}), "嗯嗯"),
        ),
        (
            {"instruction": "翻译成英文：", "input": "发货了", "output": "It is on its way.", "system": None},
            Row(({"role": "user", "content": "翻译成英文：\n发货了"},), "It is on its way."),
        ),
        (
            {"messages": [{"role": "user", "content": "能退吗"}, {"role": "assistant", "content": "能"}]},
            Row(({"role": "user", "content": "能退吗"},), "能"),
        ),
        ({"prompt": "能退吗", "completion": "能"}, Row(({"role": "user", "content": "能退吗"},), "能")),
        (
            {"prompt": "能退吗", "chosen": "能", "rejected": "不"},
            Row(({"role": "user", "content": "能退吗"},), "能", "不"),
        ),
        (
            {
                "chosen": [{"role": "user", "content": "能退吗"}, {"role": "assistant", "content": "能"}],
                "rejected": [{"role": "user", "content": "能退吗"}, {"role": "assistant", "content": "不"}],
            },
            Row(({"role": "user", "content": "能退吗"},), "能", "不"),
        ),
    ],
)
def test_forms_that_others_write(record: dict[str, Any], row: Row) -> None:
    assert read_row(record) == row


def test_a_turn_with_tools_is_read_for_curation_to_refuse() -> None:
    turns = [{"from": "human", "value": "查单"}, {"from": "function_call", "value": "{}"}]
    turns += [{"from": "observation", "value": "无"}, {"from": "gpt", "value": "查不到"}]
    row = read_row({"conversations": turns})
    assert isinstance(row, Row) and [message["role"] for message in row.messages] == [
        "user",
        "function_call",
        "observation",
    ]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("text", "it is no object"),
        ({"question": "能退吗", "answer": "能"}, "no form that is known"),
        ({"instruction": "能退吗", "output": "能", "kto_tag": True}, "a thumb"),
        ({"prompt": "能退吗", "completion": "能", "label": False}, "a thumb"),
        ({"instruction": 7, "output": "能"}, "`instruction` is text"),
        ({"instruction": "能退吗"}, "last turn is not an answer"),
        ({"instruction": "能退吗", "output": ["能"]}, "`output` is text"),
        ({"instruction": "能退吗", "output": "能", "history": "无"}, "`history` is a list"),
        ({"instruction": "能退吗", "output": "能", "history": [["在"]]}, "`history` is a list"),
        ({"instruction": "能退吗", "output": "能", "system": 1}, "`system` is text"),
        ({"instruction": "能退吗", "chosen": "能"}, "turn 1 of `rejected`"),
        ({"conversations": "能退吗"}, "`conversations` is a list"),
        ({"conversations": ["能退吗"]}, "turn 1 of `conversations` is"),
        ({"conversations": [{"from": "客户", "value": "能退吗"}]}, "said by none of human"),
        ({"conversations": [{"from": "human", "value": None}]}, "turn 1 of `conversations` says no text"),
        ({"conversations": [{"from": "human", "value": "能退吗"}]}, "last turn is not an answer"),
        ({"conversations": []}, "last turn is not an answer"),
        ({**ROW, "augmented": {"from": "ex-0", "kind": "noise"}}, "an augmented row"),
        ({"messages": [], "completion": 3}, "`completion` is text"),
        ({"messages": [{"role": "user", "content": "\ud83d"}], "completion": "能"}, "half of a character"),
        ({"messages": [{"role": "user", "content": [b"x"]}], "completion": "能"}, "more than JSON"),
    ],
)
def test_a_fault_says_what_would_be_right(record: object, words: str) -> None:
    fault = read_row(record)
    assert isinstance(fault, str) and words in fault


def test_a_named_form_takes_no_other() -> None:
    fault = read_row({"instruction": "能退吗", "output": "能"}, SHAREGPT)
    assert isinstance(fault, str) and "not of the form sharegpt, which has `conversations`" in fault
