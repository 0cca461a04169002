"""The forms in which training data goes from house to house, both ways: pure functions of one row.

    sharegpt   {"conversations": [{"from": "human" | "gpt", "value"}, ...], "system"}; as a preference the last answer
               is {"chosen": {"from": "gpt", "value"}, "rejected": {...}} instead of a turn
    alpaca     {"instruction", "input", "output", "system", "history": [[question, answer], ...]}; as a preference
               "chosen" and "rejected" instead of "output"
    hf         {"prompt": [{"role", "content"}, ...], "completion": [{...}]} as trl reads it; as a preference "chosen"
               and "rejected" instead of "completion". Read are also "messages" whose last one is the answer, prompts
               that are plain text, and "chosen" and "rejected" that hold the prompt themselves
    jsonl      a line of a dataset's own rows.jsonl, as it is

A thumb without a correction is said as an answer with `kto_tag`, in hf with `label`: whether it was liked. Thumbs are
not read: they are said of answers that were given here.

ShareGPT and Alpaca are as LLaMA-Factory reads them: at most one system prompt, first, then human and gpt in turn. A row
of another shape cannot be said in them. Of what is read, a fault is a sentence that says what would be right.

It knows nothing of files (datafiles.py) and of whether a row may teach.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHAREGPT, ALPACA, HF, JSONL = "sharegpt", "alpaca", "hf", "jsonl"
FORMS = (SHAREGPT, ALPACA, HF, JSONL)
SFT, PREFERENCE, KTO = "sft", "preference", "kto"
KINDS = (SFT, PREFERENCE, KTO)

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant"), "assistant"),
    **{name: name for name in ("system", "developer", "tool", "tool_call", "function", "function_call", "observation")},
}
"""Who speaks, by the names that the forms have for it. Curation refuses rows with tools by their own reason."""
FROM = {"user": "human", "assistant": "gpt"}

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A conversation up to the turn that is answered, the answer to learn, and perhaps the one that it corrects."""

    messages: tuple[Message, ...]
    target: str
    rejected: str | None = None


# out


def is_a(kind: str, row: Mapping[str, Any]) -> bool:
    """Whether the row has an answer to learn (sft), one that it corrects too (preference), or a thumb alone (kto)."""
    if KTO in (kind, row["kind"]):
        return bool(row["kind"] == kind)
    return kind == SFT or isinstance(row["rejected"], str)


def said_as(form: str, kind: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A dataset's row, one that `is_a` such kind, in another form; None where that form cannot say it."""
    if form == JSONL:
        return dict(row)
    answers = {"chosen": row["completion"], "rejected": row["rejected"]} if kind == PREFERENCE else {}
    liked = {"label" if form == HF else "kto_tag": row["label"]} if kind == KTO else {}
    if form == HF:
        wanted = answers or {"completion": row["completion"]}
        said = {name: [{"role": "assistant", "content": text}] for name, text in wanted.items()}
        return {"id": row["id"], "prompt": [_plain(message) for message in row["messages"]], **said, **liked}
    system, turns = _in_turn(row["messages"])
    if turns is None:
        return None
    if form == SHAREGPT:
        asked = [{"from": FROM[role], "value": text} for role, text in turns]
        said_last = [] if answers else [{"from": "gpt", "value": row["completion"]}]
        pair = {name: {"from": "gpt", "value": text} for name, text in answers.items()}
        return {"id": row["id"], "conversations": asked + said_last, "system": system, **pair, **liked}
    texts = [text for _, text in turns]
    return {
        "id": row["id"],
        "instruction": texts[-1],
        "input": "",
        **(answers or {"output": row["completion"]}),
        "system": system,
        "history": [list(pair) for pair in zip(texts[:-1:2], texts[1:-1:2], strict=True)],
        **liked,
    }


def described(form: str, kind: str, file: str) -> dict[str, Any] | None:
    """What LLaMA-Factory's dataset_info.json says of `file`; None of a form that it does not read."""
    answers = {"chosen": "chosen", "rejected": "rejected"} if kind == PREFERENCE else {}
    liked = {"kto_tag": "kto_tag"} if kind == KTO else {}
    ranking = {"ranking": True} if answers else {}
    if form == SHAREGPT:
        columns = {"messages": "conversations", "system": "system", **answers, **liked}
        return {"file_name": file, "formatting": "sharegpt", **ranking, "columns": columns}
    if form == ALPACA:
        said = answers or {"response": "output"}
        columns = {"prompt": "instruction", "query": "input", **said, "system": "system", "history": "history", **liked}
        return {"file_name": file, "formatting": "alpaca", **ranking, "columns": columns}
    return None


def columns_of(form: str, kind: str) -> list[dict[str, Any]]:
    """The columns of a form, as Hugging Face's datasets has them in a README.

    Its library else takes a column for what the first file holds, and cannot read a text where that one had nothing.
    """
    turns = _list_of("role", "content")
    judged = {"kto_tag": "bool"} if kind == KTO else {}
    if form == HF:
        wanted = ("chosen", "rejected") if kind == PREFERENCE else ("completion",)
        label = {"label": "bool"} if kind == KTO else {}
        return _columns({"id": "string", "prompt": turns, **dict.fromkeys(wanted, turns), **label})
    if form == SHAREGPT:
        said = [{"name": name, "dtype": "string"} for name in ("from", "value")]
        pair = {name: {"struct": said} for name in ("chosen", "rejected")} if kind == PREFERENCE else {}
        turns = _list_of("from", "value")
        return _columns({"id": "string", "conversations": turns, "system": "string", **pair, **judged})
    if form == ALPACA:
        texts = ("instruction", "input", *(("chosen", "rejected") if kind == PREFERENCE else ("output",)), "system")
        history = {"list": {"list": "string"}}
        return _columns({"id": "string", **dict.fromkeys(texts, "string"), "history": history, **judged})
    texts = ("completion", "rejected", "group", "split", "feedback", "inference", "author", "role", "since", "kind")
    counts = dict.fromkeys(("sources", "reviewers"), "int64")
    lists = {name: {"list": "string"} for name in ("merged", "reviews")}
    came = {"struct": [{"name": name, "dtype": "string"} for name in ("from", "kind", "model", "version")]}
    weighed = {"label": "bool", "weight": "float64"} if kind == KTO else {"augmented": came}
    return _columns({"id": "string", "messages": turns, **dict.fromkeys(texts, "string"), **counts, **lists, **weighed})


def _list_of(*names: str) -> dict[str, Any]:
    return {"list": [{"name": name, "dtype": "string"} for name in names]}


def _columns(types: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **(type_ if isinstance(type_, dict) else {"dtype": type_})} for name, type_ in types.items()]


def _plain(message: Message) -> dict[str, Any]:
    return {"role": message["role"], "content": message["content"]}


def _in_turn(messages: Sequence[Message]) -> tuple[str, list[tuple[str, str]] | None]:
    """The system prompt, and the turns if they are of user and assistant in turn, first and last the user's."""
    turns = [(message["role"], message["content"]) for message in messages]
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else ""
    wanted = ["user", "assistant"] * len(turns)
    in_turn = len(turns) % 2 == 1 and all(role == want for (role, _), want in zip(turns, wanted, strict=False))
    return system, turns if in_turn else None


# in


def form_of(record: Mapping[str, Any]) -> str | None:
    """The form that a record has by its keys; None for another one."""
    held = {name for name, value in record.items() if value is not None}
    if "conversations" in held:
        return SHAREGPT
    if "instruction" in held:
        return ALPACA
    if {"messages", "completion"} <= held:
        return JSONL
    if "messages" in held or {"prompt", "completion"} <= held or {"chosen", "rejected"} <= held:
        return HF
    return None


class _Fault(ValueError):
    """What is wrong with a record, on its way to `read_row`."""


def read_row(record: object, form: str | None = None) -> Row | str:
    """The row that a record is, in its own form or in the named one; or its fault."""
    try:
        return _read(record, form)
    except _Fault as fault:
        return str(fault)


def _read(record: object, form: str | None) -> Row:
    if not isinstance(record, Mapping):
        raise _Fault("it is no object; a row is {...}")
    known = form_of(record)
    if known is None or form not in (None, known):
        raise _Fault(_no_form(form))
    held = {name: value for name, value in record.items() if value is not None}
    if "kto_tag" in held or isinstance(held.get("label"), bool):
        raise _Fault("it is a thumb (`kto_tag`, `label`); what is read has an answer to learn, or chosen and rejected")
    if held.get("augmented"):
        raise _Fault("it is an augmented row (`augmented`), whose source is a row of its own; take it out")
    row = {SHAREGPT: _sharegpt, ALPACA: _alpaca, HF: _hf, JSONL: _jsonl}[known](held)
    _check_question(row.messages)
    try:
        json.dumps([row.messages, row.target, row.rejected], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Fault("it holds half of a character (a lone surrogate such as \\ud83d); write the text anew") from None
    except (TypeError, RecursionError):
        raise _Fault("it holds more than JSON has; a turn's content is text") from None
    return row


def _check_question(turns: Sequence[Message]) -> None:
    if not any(turn["role"] == "user" for turn in turns):
        raise _Fault("it has no question; a row is at least a user's turn (`human`, `user`) and the answer to it")
    content = turns[-1]["content"]
    if turns[-1]["role"] == "user" and isinstance(content, str) and not content.strip():
        raise _Fault("its question is blank; a row is at least a user's turn and the answer to it")


def _no_form(form: str | None) -> str:
    wanted = {
        SHAREGPT: "`conversations`",
        ALPACA: "`instruction` with `output`",
        HF: "`messages`, or `prompt` with `completion` or `chosen`",
        JSONL: "`messages` with `completion`",
    }
    if form is not None:
        return f"it is not of the form {form}, which has {wanted[form]}"
    return f"it has no form that is known: {'; '.join(f'{name} has {keys}' for name, keys in wanted.items())}"


def _sharegpt(record: Mapping[str, Any]) -> Row:
    return _answered(_under(record.get("system"), _turns(record["conversations"], "conversations")), record)


def _hf(record: Mapping[str, Any]) -> Row:
    if "messages" in record:
        return _answered(_under(record.get("system"), _turns(record["messages"], "messages")), record)
    prompt = record.get("prompt")
    if prompt is None:  # both answers then begin with it
        turns = _turns(record["chosen"], "chosen")[:-1]
    else:
        turns = _turns([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt, "prompt")
    turns = _under(record.get("system"), turns)
    if "completion" in record:
        return Row(turns, _answer(record, "completion"))
    return _answered(turns, record)


def _jsonl(record: Mapping[str, Any]) -> Row:
    rejected = _text(record, "rejected") if "rejected" in record else None
    return Row(_turns(record["messages"], "messages"), _text(record, "completion"), rejected)


def _alpaca(record: Mapping[str, Any]) -> Row:
    question = [_text(record, name) for name in ("instruction", "input") if record.get(name)]
    said: list[tuple[str, str]] = []
    history = record.get("history", [])
    for pair in history if isinstance(history, list) else [history]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise _Fault("`history` is a list of [question, answer], both text")
        said += [("user", pair[0]), ("assistant", pair[1])]
    said.append(("user", "\n".join(question)))
    turns = _under(record.get("system"), tuple({"role": role, "content": text} for role, text in said))
    return Row(turns, _text(record, "output")) if "output" in record else _answered(turns, record)


def _under(system: object, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns below the system prompt of a field of its own; a system turn takes its place."""
    if not isinstance(system, str | None):
        raise _Fault("`system` is text")
    return ({"role": "system", "content": system}, *turns) if system and not _has_system(turns) else turns


def _has_system(turns: Sequence[Message]) -> bool:
    return bool(turns) and turns[0]["role"] in ("system", "developer")


def _answered(turns: tuple[Message, ...], record: Mapping[str, Any]) -> Row:
    """The row of a conversation: with `chosen` and `rejected` beside it, or else with its last turn for an answer."""
    if "chosen" in record or "rejected" in record:
        return Row(turns, _answer(record, "chosen"), _answer(record, "rejected"))
    if not turns or turns[-1]["role"] != "assistant" or not isinstance(turns[-1]["content"], str):
        raise _Fault("its last turn is not an answer in text; a row ends with the answer to learn (`gpt`, `assistant`)")
    return Row(turns[:-1], turns[-1]["content"])


def _turns(value: object, name: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise _Fault(f"`{name}` is a list of turns")
    return tuple(_turn(turn, f"turn {number} of `{name}`") for number, turn in enumerate(value, start=1))


def _turn(value: object, where: str) -> Message:
    if not isinstance(value, Mapping):
        raise _Fault(f"{where} is {{from, value}} or {{role, content}}")
    held = {name: part for name, part in value.items() if part is not None}
    speaker, said = held.get("from", held.get("role")), held.get("value", held.get("content"))
    calls = held.get("tool_calls")
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise _Fault(f"{where} is said by none of {', '.join(ROLES)}")
    if not isinstance(said, str | list) and not calls:
        raise _Fault(f"{where} says no text")
    return {"role": ROLES[speaker], "content": said, **({"tool_calls": calls} if calls else {})}


def _answer(record: Mapping[str, Any], name: str) -> str:
    """An answer: plain text, one turn, or the last of several."""
    value = record.get(name)
    if isinstance(value, str):
        return value
    turns = _turns(value if isinstance(value, list) else [value], name)
    if not turns or turns[-1]["role"] != "assistant" or not isinstance(turns[-1]["content"], str):
        raise _Fault(f"`{name}` is an answer: text, or a turn of `gpt` or `assistant` that ends it")
    return str(turns[-1]["content"])


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise _Fault(f"`{name}` is text")
    return value
