"""A teacher: an OpenAI-compatible server that says what a test wants it to say, on 127.0.0.1, in threads.

Replies are taken in the order of the requests; when they are used up, every request is answered with a fixed text.
`requests` says what came in. It knows the chat route and the list of models, and no model.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL, FINGERPRINT = "teacher-large", "fp_17"
DRIP_S = 0.02


def completion(text: object, finish_reason: str | None = "stop") -> bytes:
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {"id": "c-1", "object": "chat.completion", "model": MODEL, "system_fingerprint": FINGERPRINT}
    return json.dumps({**body, "choices": [choice]}).encode()


@dataclass(frozen=True)
class Reply:
    """What one request gets: after `delay_s`, or a byte at a time for ever, or nothing and a closed connection."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drips: bool = False
    hangs_up: bool = False


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    authorization: str | None
    body: Any


class Teacher:
    """See the module. `reply`, where it is set, says what a request's body gets, before `replies` are looked at."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.reply: Callable[[Any], Reply] | None = None
        self.requests: list[Request] = []
        self.models: list[str] = [MODEL, "teacher-small"]
        self.url = ""
        self.most_under_way = 0
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def asked(self) -> list[Request]:
        """The requests to the chat route."""
        return [request for request in self.requests if request.path == "/v1/chat/completions"]

    def answer(self, request: Request) -> Reply:
        """What a request gets."""
        with self._lock:
            self.requests.append(request)
            if request.path == "/v1/models":
                return Reply(json.dumps({"data": [{"id": name} for name in self.models]}).encode())
            if self.reply is not None:
                return self.reply(request.body)
            return self.replies.pop(0) if self.replies else Reply(completion("没有别的可说了。"))

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A request under way."""
        with self._lock:
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1


@contextmanager
def teaching() -> Iterator[Teacher]:
    """A teacher that listens as long as the block runs."""
    made = Teacher()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else None
            with made.counted():
                self._send(made.answer(Request(self.command, self.path, self.headers.get("authorization"), body)))

        def _send(self, reply: Reply) -> None:
            over.wait(reply.delay_s)
            if reply.hangs_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "1000000" if reply.drips else str(len(reply.body)))
            self.end_headers()
            try:
                self.wfile.write(reply.body)
                while reply.drips and not over.is_set():
                    self.wfile.write(b" ")
                    time.sleep(DRIP_S)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        do_GET = do_POST = _handle

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
