"""The admin API as the command line asks it: finds the running service by its data directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from thumbwheel.errors import NotRunning, RequestError, Unavailable
from thumbwheel.home import Home, supervisor_pid

TIMEOUT_S = 30.0


def endpoints(home: Home) -> dict[str, str]:
    """Where the service listens. Raises NotRunning.

    A service that was killed leaves its addresses behind, and whoever listens there next is not to be asked.
    """
    if supervisor_pid(home) is None:
        raise NotRunning(
            f"no service is running from {home.root}. Start it with `thumbwheel up`, or name another --home."
        )
    try:
        found = json.loads(home.endpoints.read_text())
        return {name: _address(found[name]) for name in ("api", "admin")}
    except OSError:
        raise NotRunning(f"the service of {home.root} does not listen yet; {home.logs} says why.") from None
    except (ValueError, LookupError, TypeError, RecursionError, httpx.InvalidURL):
        damaged = f"{home.endpoints} is damaged. `thumbwheel up` writes it anew when it is started again."
        raise NotRunning(damaged) from None


def _address(raw: Any) -> str:
    url = httpx.URL(raw)
    if url.scheme != "http" or not 0 < (url.port or 80) < 65536:
        raise ValueError("no address of a listener")
    return str(raw)


def call(
    home: Home, method: str, path: str, body: object | None = None, params: Mapping[str, Any] | None = None
) -> Any:
    """One request to the admin API; `path` begins with /admin/v1. Raises NotRunning, or the API's own RequestError."""
    url = endpoints(home)["admin"] + quote(path)
    file = home.keys / "admin.key"
    try:
        key = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as unreadable:
        reason = unreadable.strerror if isinstance(unreadable, OSError) else "it holds none"
        raise NotRunning(f"the administrator's key cannot be read from {file} ({reason}).") from None
    try:
        response = httpx.request(
            method,
            url,
            json=body,
            params=params,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
    except httpx.ConnectError:
        raise NotRunning(
            f"the service of {home.root} does not answer; it may have been killed. `thumbwheel up` continues it."
        ) from None
    except httpx.TimeoutException:
        raise Unavailable(f"the service took over {TIMEOUT_S:g} s to answer; see its logs in {home.logs}") from None
    except httpx.HTTPError:
        raise NotRunning(
            f"the service of {home.root} broke off before its answer was whole; whether it did what was asked, "
            f"`thumbwheel status` and its logs in {home.logs} show."
        ) from None
    try:
        answer = response.json()
        if response.is_success:
            return answer
        error = answer["error"]
        raise RequestError(f"{error['message']} ({response.status_code})", code=error["code"], param=error["param"])
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"the service answered {response.status_code}; see its logs in {home.logs}") from None
