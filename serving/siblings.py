"""How the gateway workers of one data directory exchange metrics: each serves its own on a socket; the scraped one asks
the rest.

Workers share their listeners, so a scrape reaches whichever the kernel picks, and that one answers for all.
prometheus-client's own way is files mapped into memory: chosen by an environment variable when it is imported, blind to
gauges that are functions, and deadly on a full disk, where touching a new page of such a file kills the process
(docs/log.md). Sockets need no disk and tell of living workers only.

It knows nothing of what the figures are. Linux only: /proc gives long paths the short names that sockets need.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from thumbwheel.home import short_path

log = logging.getLogger(__name__)

ASK_S = 1.0  # the longest that a scrape waits for one sibling
CHUNK = 64 * 1024
SUFFIX = ".sock"


class Siblings:
    """This worker's socket in `folder`, and the way to those of the others. `own` is what it tells."""

    def __init__(self, folder: Path, worker: str, own: Callable[[], bytes], *, ask_s: float = ASK_S) -> None:
        self._folder, self._name, self._own, self._ask_s = folder, worker + SUFFIX, own, ask_s
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to answer. Where the folder takes no socket (a full disk) this is logged, and siblings go without."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(self._folder) as folder:
                listener.bind(f"{folder}/.{self._name}")
            listener.listen()
            # Only now under the name that siblings look for: one that refuses them is taken for dead and removed.
            os.rename(self._folder / f".{self._name}", self._folder / self._name)
        except OSError as error:
            log.error("no socket for this worker's figures: %s", error)
            listener.close()
            return
        self._server = await asyncio.start_unix_server(self._tell, sock=listener)

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
            (self._folder / self._name).unlink(missing_ok=True)

    def texts(self) -> list[bytes]:
        """What every other living worker tells; blocks. One that does not answer in time is logged and left out."""
        try:
            with short_path(self._folder) as folder:
                names = [name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith(".")]
                told = [_ask(Path(folder) / name, self._ask_s) for name in sorted(names) if name != self._name]
        except OSError as error:
            log.error("the other workers cannot be looked for: %s", error)
            return []
        return [text for text in told if text is not None]

    async def _tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await asyncio.to_thread(self._own))
        with contextlib.suppress(ConnectionError):  # the sibling would not wait
            await writer.drain()
        writer.close()


def _ask(path: Path, ask_s: float) -> bytes | None:
    parts = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ask_s)
            connection.connect(str(path))
            while part := connection.recv(CHUNK):
                parts.append(part)
    except ConnectionRefusedError:  # left behind by a worker that was killed
        path.unlink(missing_ok=True)
        return None
    except OSError as error:
        log.warning("worker %s does not tell its figures: %s", path.stem, error)
        return None
    return b"".join(parts)
