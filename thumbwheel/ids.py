"""Identities: time-ordered; self-authenticating, for what strangers hand back to us; an adapter's name in an engine.

An inference id reads `chatcmpl-` + time and randomness (26) + channel tag (6) + tenant tag (6) + seal (10), in
Crockford's base32. Channel and tenant are in the id so that feedback can be accepted, counted and refused before its
inference has reached the store, and after the key that asked has been rotated. The seal is a truncated keyed digest (50
bits): each guess costs a request, so it is a tag against forgery over the network and no substitute for the key. An
inference that is not logged gets another seal, so feedback that could never find it is refused by its id alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from functools import lru_cache

from thumbwheel.errors import NotFound, Unauthenticated

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ULID_CHARS, TIME_CHARS, TAG_CHARS, SEAL_CHARS = 26, 10, 6, 10
DAY_MS = 86_400_000
BODY_CHARS = ULID_CHARS + 2 * TAG_CHARS + SEAL_CHARS
KINDS = ("chatcmpl", "cmpl")
EXPIRY_CHARS, BINDING_CHARS = 10, 26
TOKEN_CHARS = len("fbt-") + EXPIRY_CHARS + BINDING_CHARS + SEAL_CHARS
# A day is a multiple of the 1,024 ms that the last two characters of a time tell apart.
_MINTED = re.compile(rf"(?:{'|'.join(KINDS)})-([{ALPHABET}]{{{TIME_CHARS - 2}}})[{ALPHABET}]{{2}}")
_TO_DIGITS = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # as Python reads a number in base 32
_ENGINE_NAME = re.compile(r"adapter-(?P<sha>[0-9a-f]{64})")


def base32(number: int, chars: int) -> str:
    """The lowest 5 * `chars` bits of `number`, most significant first."""
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(5 * (chars - 1), -1, -5))


def from_base32(text: str) -> int:
    """The number that `base32` wrote. Raises ValueError on another alphabet."""
    number = 0
    for char in text:
        number = number << 5 | ALPHABET.index(char)
    return number


def ulid(now_ms: int, entropy: bytes | None = None) -> str:
    """26 characters that sort by time: 48 bits of milliseconds, 80 bits of randomness."""
    random = entropy if entropy is not None else os.urandom(10)
    return base32(now_ms << 80 | int.from_bytes(random[:10], "big"), ULID_CHARS)


def new_id(prefix: str, now_ms: int) -> str:
    """A fresh id such as `run-01j...`."""
    return f"{prefix}-{ulid(now_ms)}"


def digest32(data: bytes, chars: int, key: bytes = b"") -> str:
    """A keyed BLAKE2b digest of `data` as `chars` characters of base32."""
    raw = hashlib.blake2b(data, digest_size=(5 * chars + 7) // 8, key=key).digest()
    return base32(int.from_bytes(raw, "big"), chars)


def engine_name(sha: str) -> str:
    """The immutable name by which an engine serves the adapter artifact `sha` (64 hex digits). Raises ValueError."""
    name = f"adapter-{sha}"
    if adapter_sha(name) is None:
        raise ValueError("an adapter's engine name is made of the artifact's 64 hex digits")
    return name


def adapter_sha(name: str) -> str | None:
    """The artifact that an engine name stands for, or None where the name is anything but `adapter-<64 hex>`."""
    found = _ENGINE_NAME.fullmatch(name)
    return found["sha"] if found else None


def channel_tag_in(inference: str) -> str | None:
    """The channel's tag in a text of an inference id's form; its seal is not looked at."""
    kind, _, body = inference.partition("-")
    return body[ULID_CHARS : ULID_CHARS + TAG_CHARS] if kind in KINDS and len(body) == BODY_CHARS else None


def channel_tag(channel: str) -> str:
    """The channel's mark inside inference ids; public, not secret."""
    return digest32(b"channel\0" + channel.encode(), TAG_CHARS)


def tenant_tag(secret: bytes, tenant: str) -> str:
    """The tenant's mark inside inference ids."""
    return digest32(b"tenant\0" + tenant.encode(), TAG_CHARS, secret)


@dataclass(frozen=True)
class InferenceId:
    """What an authentic inference id says of itself."""

    text: str
    at_ms: int
    channel_tag: str
    tenant_tag: str
    logged: bool  # whether its channel logged anything when it was asked


def mint_inference_id(
    kind: str,
    channel: str,
    tenant: str,
    now_ms: int,
    secret: bytes,
    *,
    logged: bool = True,
    entropy: bytes | None = None,
) -> str:
    """A new inference id; `kind` is one of KINDS. The same `entropy`, of 10 bytes, makes the same id."""
    unsealed = f"{kind}-{ulid(now_ms, entropy)}{channel_tag(channel)}{tenant_tag(secret, tenant)}"
    return unsealed + _seal(unsealed, secret, logged)


def _seal(unsealed: str, secret: bytes, logged: bool) -> str:
    return digest32((unsealed if logged else f"unlogged {unsealed}").encode(), SEAL_CHARS, secret)


def read_inference_id(text: str, secret: bytes) -> InferenceId:
    """The parts of an inference id that we minted. Raises NotFound for any other text, without a look-up."""
    kind, _, body = text.partition("-")
    unsealed, seal = text[:-SEAL_CHARS], text[-SEAL_CHARS:]
    well_formed = kind in KINDS and len(body) == BODY_CHARS and text.isascii()
    logged = well_formed and hmac.compare_digest(seal, _seal(unsealed, secret, True))
    unlogged = well_formed and hmac.compare_digest(seal, _seal(unsealed, secret, False))
    if not logged and not unlogged:
        raise NotFound(
            "No inference has this id. Send the `id` of the answer that the feedback is about, unchanged.",
            param="inference_id",
            code="inference_not_found",
        )
    return InferenceId(
        text=text,
        at_ms=from_base32(body[:ULID_CHARS]) >> 80,
        channel_tag=body[ULID_CHARS : ULID_CHARS + TAG_CHARS],
        tenant_tag=body[ULID_CHARS + TAG_CHARS : ULID_CHARS + 2 * TAG_CHARS],
        logged=logged,
    )


def day_of(inference: str) -> int:
    """The day (UTC, counted from 1970) of an inference's id; 0 for a text that we did not mint. Checks no seal."""
    found = _MINTED.match(inference)
    return 0 if found is None else _day_at(found[1])


@lru_cache(maxsize=4096)
def _day_at(time: str) -> int:
    return (int(time.translate(_TO_DIGITS), 32) << 10) // DAY_MS


def day_bounds(kind: str, day: int) -> tuple[str, str]:
    """Texts between which (the first included) lie all ids of this `kind`, one of KINDS, that were minted on `day`."""
    low, high = (f"{kind}-{base32(at * DAY_MS, TIME_CHARS)}" for at in (day, day + 1))
    return low, high


def feedback_id(inference: str, author: str | None, content: bytes) -> str:
    """The same feedback gets the same id; ids of one inference sort beside each other, by its time."""
    body = inference.partition("-")[2]
    seed = b"\0".join((inference.encode(), (author or "").encode(), content))
    return f"fb-{body[:10]}{digest32(seed, 22)}"


def feedback_token(inference: str, expires_ms: int, secret: bytes) -> str:
    """A token that allows feedback on this one inference until `expires_ms`; a browser may hold it.

    Its last characters seal the rest, so that it is known for one of ours before it is known what it is shown for.
    """
    expiry = base32(expires_ms, EXPIRY_CHARS)
    unsealed = f"fbt-{expiry}{_binding(inference, expiry, secret)}"
    return unsealed + digest32(unsealed.encode(), SEAL_CHARS, secret)


def _binding(inference: str, expiry: str, secret: bytes) -> str:
    return digest32(f"{inference} {expiry}".encode(), BINDING_CHARS, secret)


def read_feedback_token(token: str, now_ms: int, secret: bytes) -> None:
    """Raises Unauthenticated for a token that we did not make, or that has expired."""
    unsealed, seal = token[:-SEAL_CHARS], token[-SEAL_CHARS:]
    wanted = digest32(unsealed.encode("utf-8", "replace"), SEAL_CHARS, secret)
    if len(token) != TOKEN_CHARS or not token.isascii() or not hmac.compare_digest(seal, wanted):
        raise Unauthenticated(
            "This is no feedback token. Send the one that came with the answer, unchanged.",
            code="invalid_feedback_token",
        )
    if from_base32(token[4 : 4 + EXPIRY_CHARS]) < now_ms:
        raise Unauthenticated("This feedback token has expired: feedback on that answer is closed.", code="expired")


def opens(token: str, inference: str, secret: bytes) -> bool:
    """Whether a token that `read_feedback_token` took was made for this inference."""
    expiry, binding = token[4 : 4 + EXPIRY_CHARS], token[4 + EXPIRY_CHARS : -SEAL_CHARS]
    return hmac.compare_digest(binding, _binding(inference, expiry, secret))
