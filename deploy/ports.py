"""Listening sockets, opened by the supervisor and inherited by the gateway's workers.

A connection that comes while a worker is being started again waits in the socket's queue instead of being refused. The
usual ports are taken if they are free, else any free one; a port that a person set is that port or an error.
"""

from __future__ import annotations

import errno
import socket

from thumbwheel.errors import SettingsError
from thumbwheel.settings import HOST_OF

BACKLOG = 1024


def listen(host: str, key: str, wanted: int | None, usual: int) -> socket.socket:
    """A listening TCP socket for the setting `key`: on `wanted`, or else `usual` or any free port.

    Raises SettingsError where `wanted` cannot be had.
    """
    if wanted is not None:
        try:
            return _bind(host, wanted)
        except OSError as error:
            raise SettingsError([(key, f"holds {wanted}", _advice(host, error))]) from error
    try:
        return _bind(host, usual)
    except OSError:
        pass
    try:
        return _bind(host, 0)
    except OSError as error:
        raise SettingsError([(HOST_OF[key], f"holds {host!r}", _advice(host, error))]) from error


def url(host: str, listener: socket.socket) -> str:
    """Where a client on this machine reaches the listener; without a path."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    port = listener.getsockname()[1]
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Else a port stays taken for a minute after its last connection; no other listener is displaced by it on Linux.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _advice(host: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there; stop it, or choose another port, or leave it out for a free one"
    if error.errno == errno.EACCES:
        return "this user may not listen there; choose a port from 1024"
    return f"no socket can listen on {host!r} ({error.strerror or error})"
