"""The admin API as the command line asks it: finds the running service by its data directory."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from thumbwheel.errors import RequestError, ThumbwheelError, Unavailable
from thumbwheel.home import Home

TIMEOUT_S = 30.0


class NotRunning(ThumbwheelError):
    """No service answers from this data directory."""


def endpoints(home: Home) -> dict[str, str]:
    """Where the service listens. Raises NotRunning."""
    try:
        found = json.loads(home.endpoints.read_text())
        return {"api": found["api"], "admin": found["admin"]}
    except OSError:
        raise NotRunning(
            f"no service is running from {home.root}. Start it with `thumbwheel up`, or name another --home."
        ) from None
    except (ValueError, LookupError, TypeError):
        raise NotRunning(f"{home.endpoints} is damaged. `thumbwheel up` writes it anew.") from None


def call(home: Home, method: str, path: str, body: object | None = None) -> Any:
    """One request to the admin API; `path` begins with /admin/v1. Raises NotRunning, or the API's own RequestError."""
    url = endpoints(home)["admin"] + quote(path)
    file = home.keys / "admin.key"
    try:
        key = file.read_text().strip()
    except OSError as unreadable:
        raise NotRunning(f"the administrator's key cannot be read from {file} ({unreadable.strerror}).") from None
    try:
        response = httpx.request(
            method, url, json=body, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S, trust_env=False
        )
    except httpx.ConnectError:
        raise NotRunning(
            f"the service of {home.root} does not answer; it may have been killed. `thumbwheel up` continues it."
        ) from None
    except httpx.TimeoutException:
        raise Unavailable(f"the service took over {TIMEOUT_S:g} s to answer; see its logs in {home.logs}") from None
    if response.is_success:
        return response.json()
    try:
        error = response.json()["error"]
        raise RequestError(f"{error['message']} ({response.status_code})", code=error["code"], param=error["param"])
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"the service answered {response.status_code}; see its logs in {home.logs}") from None
