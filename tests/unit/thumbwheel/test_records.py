"""How an engine is reached, and what it knows a release by."""

from __future__ import annotations

import pytest

from thumbwheel.records import Engine, Release


def engine(kind: str, address: str) -> Engine:
    return Engine("e", "main", kind, address, "base", "i", "ready")


@pytest.mark.parametrize(
    ("kind", "address", "socket", "url"),
    [
        ("vllm", "/run/e.sock", "/run/e.sock", "http://localhost"),
        ("upstream", "unix:/run/up.sock", "/run/up.sock", "http://localhost"),
        ("upstream", "http://127.0.0.1:8000", None, "http://127.0.0.1:8000"),
        ("upstream", "http://127.0.0.1:8000/", None, "http://127.0.0.1:8000"),
        ("upstream", "http://127.0.0.1:8000/v1", None, "http://127.0.0.1:8000"),
        ("upstream", "https://models.example/api/v1/", None, "https://models.example/api"),
    ],
)
def test_how_an_engine_is_reached(kind: str, address: str, socket: str | None, url: str) -> None:
    assert (engine(kind, address).socket, engine(kind, address).url) == (socket, url)


def test_an_engine_knows_a_release_by_its_adapter_or_by_its_own_base() -> None:
    base = Release("rel-0", "support", "stable", "main", "m", None, None, None, None, None, 0, 1)
    tuned = Release("rel-1", "support", "candidate", "main", "m", "a" * 64, None, None, None, None, 0, 1)
    one = engine("vllm", "/run/e.sock")
    assert [one.name_of(release) for release in (base, tuned)] == ["base", "adapter-" + "a" * 64]
