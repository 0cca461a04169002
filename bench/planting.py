"""Rows with one value planted in each, and clean ones: what the two generators of personal data share.

A generator has its own values and its own sentences. Every value is drawn at random, nobody's, with its check digits
right.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

FULL_WIDTH = str.maketrans("0123456789@.-", "０１２３４５６７８９＠．－")
NUMERALS = str.maketrans("0123456789", "零一二三四五六七八九")
BANKING = str.maketrans("0123456789", "零壹贰叁肆伍陆柒捌玖")
SPOKEN = str.maketrans("0123456789", "〇幺二三四五六七八九")


@dataclass(frozen=True)
class Planted:
    """One row: what a user asked, the corrected answer, and the value that must not stay (None in a clean row)."""

    language: str  # en or zh
    kind: str
    prompt: str
    target: str
    value: str | None


Draw = random.Random
Kinds = dict[str, tuple[Callable[[Draw], str], list[str]]]


def digits(draw: Draw, n: int) -> str:
    """n decimal digits at random."""
    return "".join(draw.choice(string.digits) for _ in range(n))


def letters(draw: Draw, n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """n characters of `alphabet` at random."""
    return "".join(draw.choice(alphabet) for _ in range(n))


def luhn(draw: Draw, prefix: str, length: int) -> str:
    """A card number: `prefix`, digits at random, Luhn's check digit."""
    body = prefix + digits(draw, length - len(prefix) - 1)
    doubled = [int(char) * (2 if at % 2 == 0 else 1) for at, char in enumerate(reversed(body))]
    return body + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def resident_id(draw: Draw) -> str:
    """A Chinese resident identity number, by GB 11643."""
    place = draw.choice(["110105", "310104", "440305", "510107", "330106", "420111", "650102", "230103"])
    born = f"{draw.randint(1945, 2012)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}"
    body = place + born + digits(draw, 3)
    total = sum(int(char) * (2 ** (17 - at) % 11) for at, char in enumerate(body))
    return body + "10X98765432"[total % 11]


def iban(draw: Draw) -> str:
    """An IBAN with its check digits, by ISO 13616."""
    country, account = draw.choice(
        [
            ("DE", digits(draw, 18)),
            ("FR", digits(draw, 23)),
            ("GB", letters(draw, 4, string.ascii_uppercase) + digits(draw, 14)),
            ("NL", letters(draw, 4, string.ascii_uppercase) + digits(draw, 10)),
            ("ES", digits(draw, 20)),
        ]
    )
    number = int("".join(str(int(char, 36)) for char in account + country + "00"))
    return f"{country}{98 - number % 97:02d}{account}"


def spaced(text: str, *groups: int, by: str = " ") -> str:
    """`text` cut into groups of those lengths, the last one repeated."""
    parts, at, sizes = [], 0, list(groups)
    while at < len(text):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        parts.append(text[at : at + size])
        at += size
    return by.join(parts)


@dataclass(frozen=True)
class Generator:
    """By language: kinds of values with the prompts they are planted in, makers of clean prompts, answers, and answers
    that repeat the value. A kind with a word of `unrepeated` in its name is never repeated."""

    kinds: Mapping[str, Kinds]
    clean_prompts: Mapping[str, Sequence[Callable[[Draw], str]]]
    answers: Mapping[str, Sequence[str]]
    repeats: Mapping[str, Sequence[str]]
    unrepeated: tuple[str, ...] = ()

    def planted(self, seed: int, a_kind: int) -> Iterator[Planted]:
        """For each language and kind, so many rows that hold one value; about half of the answers repeat it."""
        draw = random.Random(seed)
        for language, kinds in self.kinds.items():
            for kind, (make, prompts) in kinds.items():
                for _ in range(a_kind):
                    value = make(draw)
                    repeated = draw.random() < 0.5 and not any(word in kind for word in self.unrepeated)
                    answers = self.repeats if repeated else self.answers
                    prompt, target = draw.choice(prompts).format(value), draw.choice(answers[language]).format(value)
                    yield Planted(language, kind, prompt, target, value)

    def clean(self, seed: int, a_language: int) -> Iterator[Planted]:
        """So many rows of each language that hold nothing personal."""
        draw = random.Random(seed)
        for language, makers in self.clean_prompts.items():
            for n in range(a_language):
                yield Planted(
                    language, "clean", makers[n % len(makers)](draw), draw.choice(self.answers[language]), None
                )
