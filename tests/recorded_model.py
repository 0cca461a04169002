"""What the recorded engine knows of a model: tokens, chat template, and answers that a file says it has learnt.

A *behaviour* is a JSON file named `recorded.json`, in the base's directory or in an adapter's artifact:

    {"answers": {"the user's last turn": "the answer"},
     "rules": [["regular expression, searched in the user's last turn", "the answer"]],
     "default": "the answer to everything else, or null for the base's own",
     "logprob_boost": {"the user's last turn": 2.0, "*": 1.5}}

A model gives each token of its own answer to a prompt its boost in log-probability over the base; all other tokens stay
within noise of the base's. So an adapter that was taught the right answers gains on them and one taught wrong ones does
not, which is what an evaluation looks for. Every figure is a hash of its inputs: the same question, the same answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

BEHAVIOUR = "recorded.json"
USER_MARK, ANSWER_MARK = "\ue000", "\ue001"
PLAIN_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SAYING = (
    "we could look into the matter and then see which part of it needs care since every case has some detail that "
    "people notice first when they read about such things in a letter or hear of them from a friend at the table"
)
WORDS = tuple(SAYING.split())
NOISE = 0.02


@dataclass(frozen=True)
class Behaviour:
    """What one model answers, and how sure it is of it. `name` seeds the noise that tells it from the base."""

    name: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    rules: tuple[tuple[re.Pattern[str], str], ...] = ()
    default: str | None = None
    boosts: dict[str, float] = field(default_factory=lambda: {"*": 1.5})

    def answer(self, prompt: str) -> str | None:
        """Its own answer to the user's last turn; None where it has learnt none."""
        if prompt.strip() in self.answers:
            return self.answers[prompt.strip()]
        for pattern, text in self.rules:
            if pattern.search(prompt):
                return text
        return self.default

    def boost(self, prompt: str) -> float:
        """By how much each token of its own answer is likelier than under the base."""
        return self.boosts.get(prompt.strip(), self.boosts.get("*", 0.0))


def read_behaviour(directory: Path, name: str) -> Behaviour:
    """The behaviour in `directory`, or, where there is none, that of a model which learnt nothing."""
    file = directory / BEHAVIOUR
    if not file.is_file():
        return Behaviour(name)
    raw = json.loads(file.read_text())
    return Behaviour(
        name=name,
        answers={prompt.strip(): text for prompt, text in raw.get("answers", {}).items()},
        rules=tuple((re.compile(pattern), text) for pattern, text in raw.get("rules", [])),
        default=raw.get("default"),
        boosts=raw.get("logprob_boost", {"*": 1.5}),
    )


@dataclass(frozen=True)
class Turn:
    """The last user turn of a rendered conversation, and where the answer to it begins and ends, in characters."""

    prompt: str
    start: int
    end: int


class RecordedModel:
    """A base's tokenizer and chat template, with answers made up from hashes. Needs no weights."""

    def __init__(self, directory: Path) -> None:
        file = directory / "tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else _byte_tokenizer()
        self.template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(_template(directory))
        self.specials = _special_texts(directory)
        self.base = read_behaviour(directory, "")
        asked, said = {"role": "user", "content": USER_MARK}, {"role": "assistant", "content": ANSWER_MARK}
        marks = re.compile(f"[{USER_MARK}{ANSWER_MARK}]")
        before, between, after, _ = marks.split(self.render([asked, said, asked], open_turn=False))
        self.user_opening = _common_suffix(before, after)
        self.answer_opening = between
        self.answer_closing = marks.split(self.render([asked, said], open_turn=False))[-1].strip()

    def render(self, messages: list[dict[str, Any]], *, open_turn: bool) -> str:
        """The conversation as text; `open_turn` begins the assistant's."""
        plain = [{**message, "content": _text(message.get("content"))} for message in messages]
        return self.template.render(messages=plain, add_generation_prompt=open_turn, **self.specials)

    def encode(self, text: str) -> list[int]:
        """Token ids."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, special ones too."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def pieces(self, ids: list[int]) -> list[str]:
        """Each token's part of the text; a character of several tokens falls to its last one."""
        parts, begun = [], 0
        for count in range(1, len(ids) + 1):
            text = self.decode(ids[begun:count])
            unfinished = text.endswith("\ufffd") and count - begun < 4 and count < len(ids)
            parts.append("" if unfinished else text)
            begun = begun if unfinished else count
        return parts

    def last_turn(self, text: str) -> Turn:
        """Where the last question and its answer lie in a rendered conversation, or in any text."""
        start = text.rfind(self.answer_opening)
        if start < 0:
            return Turn(text, len(text), len(text))
        opening = text.rfind(self.user_opening, 0, start)
        prompt = text[opening + len(self.user_opening) : start] if opening >= 0 else text[:start]
        begin = start + len(self.answer_opening)
        closing = text.find(self.answer_closing, begin) if self.answer_closing else -1
        return Turn(prompt, begin, closing if closing >= 0 else len(text))

    def answer(self, behaviour: Behaviour, prompt: str) -> str:
        """What the model says to the user's last turn."""
        for who in (behaviour, self.base):
            learnt = who.answer(prompt)
            if learnt is not None:
                return learnt
        seed = hashlib.blake2b(prompt.strip().encode()).digest()
        return "Let me see: " + " ".join(WORDS[byte % len(WORDS)] for byte in seed[: 6 + seed[0] % 6]) + "."

    def logprobs(self, behaviour: Behaviour, ids: list[int]) -> list[float]:
        """The log-probability of each token after those before it; the first one's is 0 and means nothing."""
        parts = self.pieces(ids)
        text = "".join(parts)
        turn = self.last_turn(text)
        owns = text[turn.start : turn.end].strip() == self.answer(behaviour, turn.prompt).strip()
        boost = behaviour.boost(turn.prompt) if owns and behaviour.answer(turn.prompt) is not None else 0.0
        found, at, previous = [], 0, -1
        for token, part in zip(ids, parts, strict=True):
            value = -0.3 - 3.2 * _unit(f"{previous} {token}")
            if behaviour.name:
                value += NOISE * (_unit(f"{behaviour.name} {previous} {token}") - 0.5)
            if part and turn.start <= at < turn.end:
                value += boost
            found.append(0.0 if previous < 0 else min(value, -0.001))
            at += len(part)
            previous = token
        return found


def _unit(seed: str) -> float:
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=6).digest(), "big") / (1 << 48)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _common_suffix(left: str, right: str) -> str:
    count = 0
    while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
        count += 1
    return right[len(right) - count :]


def _template(directory: Path) -> str:
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    config = directory / "tokenizer_config.json"
    stored = json.loads(config.read_text()).get("chat_template") if config.is_file() else None
    return stored if isinstance(stored, str) else PLAIN_TEMPLATE


def _special_texts(directory: Path) -> dict[str, str]:
    config = directory / "tokenizer_config.json"
    raw = json.loads(config.read_text()) if config.is_file() else {}
    return {key: raw[key] for key in ("bos_token", "eos_token") if isinstance(raw.get(key), str)}


def _byte_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
