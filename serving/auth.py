"""Who asks: keys by their hash, held in memory, so that no request waits for the store.

A key's text holds 256 random bits and the table is looked up by its SHA-256, so timing tells nothing of the text; the
last comparison is constant-time all the same. It knows nothing of what a right allows.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from thumbwheel.errors import Forbidden, Unauthenticated
from thumbwheel.keys import hash_key
from thumbwheel.records import Key

MAX_KEY_CHARS = 256


def bearer(authorization: str | None) -> str | None:
    """The key in an Authorization header, or None."""
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and 0 < len(text) <= MAX_KEY_CHARS else None


def find_key(keys: Mapping[str, Key], authorization: str | None, kind: str) -> Key | None:
    """The key of `kind` (app or admin) that the header names, or None."""
    text = bearer(authorization)
    if text is None:
        return None
    digest = hash_key(text)
    key = keys.get(digest)
    return key if key is not None and key.kind == kind and hmac.compare_digest(key.hash, digest) else None


def refusal(authorization: str | None, kind: str) -> Unauthenticated:
    """The 401 for a request without a key that is known here."""
    file = f"keys/{kind}.key"
    if bearer(authorization) is None:
        return Unauthenticated(
            f"Send an API key as `Authorization: Bearer KEY`; the service's own is in {file} of its data directory.",
            code="missing_api_key",
        )
    what = "an application's key" if kind == "app" else "an administrator's key"
    return Unauthenticated(f"This key is not known here, or is not {what}.", code="invalid_api_key")


def need_right(key: Key, right: str, param: str) -> None:
    """Raises Forbidden where the key lacks `right`."""
    if right not in key.rights:
        raise Forbidden(
            f"`{param}` needs a key with the right `{right}` (`thumbwheel keys create --right {right}`).",
            param=param,
            code="right_missing",
        )
