"""What answers for a pool, seen from outside: a client of its API, whether it is up, what it calls its model.

An engine of ours listens on a Unix socket; an *upstream* is any OpenAI-compatible server by URL, with or without /v1 at
its end. It knows nothing of releases, and starts and stops nothing.
"""

from __future__ import annotations

import httpx

from thumbwheel.errors import EngineUnreachable
from thumbwheel.records import Engine

PROBE_S = 5.0


def client(engine: Engine, timeout_s: float, key: str | None = None) -> httpx.Client:
    """A client of the engine's API, whose paths begin with /v1; `key` goes to an upstream alone."""
    headers = {} if key is None or engine.kind == "vllm" else {"authorization": f"Bearer {key}"}
    transport = httpx.HTTPTransport(uds=engine.socket, trust_env=False)
    return httpx.Client(transport=transport, base_url=engine.url, timeout=timeout_s, headers=headers, trust_env=False)


def is_up(engine: Engine, key: str | None = None, timeout_s: float = PROBE_S) -> bool:
    """Whether the engine says that it is well: /health of ours, the list of models of an upstream."""
    path = "/health" if engine.kind == "vllm" else "/v1/models"
    try:
        with client(engine, timeout_s, key) as http:
            return http.get(path).is_success
    except httpx.HTTPError:
        return False


def first_model(engine: Engine, key: str | None = None, timeout_s: float = PROBE_S) -> str:
    """The first model that an upstream lists. Raises EngineUnreachable, also where it lists none."""
    try:
        with client(engine, timeout_s, key) as http:
            response = http.get("/v1/models")
            response.raise_for_status()
            return str(response.json()["data"][0]["id"])
    except httpx.HTTPStatusError as error:
        raise EngineUnreachable(f"GET /v1/models answers {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise EngineUnreachable(f"it does not answer ({type(error).__name__})") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise EngineUnreachable("GET /v1/models lists no model; name one with --upstream-model") from error
