"""People who ask and say what they think of the answers, and remember exactly what they were told.

Every feedback bears a mark of its own as a tag, so that it is known again in the store though its sender never heard
its id. Some of those who are not heard give up, most try again, some of those who were heard say it once more, and some
say something else. What each does follows from the seed and its number; in which order they come to it does not.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.judge import Word
from tests.integration.service import Service, complaint

CHANNEL = "support"
PEOPLE, SILENT = 3, 1  # threads: people who say what they think, and people who only ask
PAUSE_S = 0.15  # between one person and the next, of each thread
TIMEOUT_S = 20.0
PATIENCE_S = 60.0  # how long one who does not give up goes on trying
GIVES_UP, SAYS_IT_AGAIN, THINKS_AGAIN, ONLY_THUMBS = 0.25, 0.1, 0.1, 0.15  # shares of the people


@dataclass
class Journal:
    """What was said and what was answered; safe to share between threads."""

    counts: Counter[str] = field(default_factory=Counter)
    words: dict[str, set[str]] = field(default_factory=dict)  # mark -> the ids of its 202s
    answered: dict[str, float] = field(default_factory=dict)  # inference -> when, by the monotonic clock
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def sent(self, mark: str, id_: str | None = None) -> None:
        """Note that it was sent, before it is, and its id, when there was a 202."""
        with self._lock:
            ids = self.words.setdefault(mark, set())
            if id_ is not None:
                ids.add(id_)

    def said(self) -> list[Word]:
        with self._lock:
            return [Word(mark, frozenset(ids)) for mark, ids in self.words.items()]

    @property
    def acknowledged(self) -> int:
        return sum(1 for word in self.said() if word.ids)


class Load:
    """The people, from `start` until `stop`. Some never say a word: they ask on while no feedback can be taken."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service, self._seed = service, seed
        self._stop = threading.Event()
        self._numbers = iter(range(1, 1_000_000))
        self._waiting: dict[str, float] = {}
        self._faults: list[BaseException] = []
        self.journal = Journal()
        kinds = [self._person] * PEOPLE + [self._silent] * SILENT
        self._threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new people, and each says what they had to say. Raises what went wrong with one of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads), "somebody is still speaking"
        if self._faults:
            raise self._faults[0]

    def longest_wait_s(self) -> float:
        """How long the feedback that has waited for its answer for longest has done so; 0 where none is under way."""
        now_s = time.monotonic()
        return max((now_s - since_s for since_s in list(self._waiting.values())), default=0.0)

    def _run(self, kind: Callable[[httpx.Client, int], None]) -> None:
        try:
            with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as http:
                while not self._stop.is_set():
                    kind(http, next(self._numbers))
                    self._stop.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - the thread's outermost loop: `stop` raises it
            self._faults.append(error)

    def _silent(self, http: httpx.Client, number: int) -> None:
        self._ask(http, complaint(number)[0], f"person{number}")

    def _person(self, http: httpx.Client, number: int) -> None:
        dice = random.Random(f"{self._seed} {number}")
        question, right = complaint(number)
        inference = self._ask(http, question, f"person{number}")
        if inference is None:
            return
        self._stop.wait(dice.choice((0.0, 0.0, 0.2)))
        corrects = dice.random() >= ONLY_THUMBS
        gives_up = dice.random() < GIVES_UP
        first = {"thumb": "down", **({"correction": right} if corrects else {})}
        heard = self.say(http, inference, f"m{number}", gives_up=gives_up, **first)
        if heard and dice.random() < SAYS_IT_AGAIN:
            self.say(http, inference, f"m{number}", gives_up=True, **first)
        if dice.random() < THINKS_AGAIN:
            self.say(http, inference, f"m{number}.2", gives_up=gives_up, thumb="down", comment="It is still wrong.")

    def _ask(self, http: httpx.Client, question: str, user: str) -> str | None:
        body = {"model": CHANNEL, "messages": [{"role": "user", "content": question}], "user": user}
        self.journal.count("asked")
        try:
            response = http.post(
                self._service.endpoint("api") + "/v1/chat/completions", json=body, headers=self._service.key("app")
            )
        except (httpx.TransportError, FileNotFoundError):
            self.journal.count("questions cut off")
            return None
        if response.status_code != 200:
            self.journal.count(f"questions answered {response.status_code}")
            return None
        self.journal.count("answered")
        inference = str(response.json()["id"])
        self.journal.answered[inference] = time.monotonic()
        return inference

    def say(self, http: httpx.Client, inference: str, mark: str, *, gives_up: bool = False, **said: Any) -> bool:
        """Send feedback until it is heard, or once; whether there was a 202."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            self.journal.sent(mark)
            if self._once(http, {"inference_id": inference, "tags": [mark], **said}, mark):
                return True
            if gives_up or time.monotonic() > deadline_s:
                return False
            time.sleep(0.2)

    def _once(self, http: httpx.Client, body: dict[str, Any], mark: str) -> bool:
        try:
            with self._under_way(mark):
                response = http.post(
                    self._service.endpoint("api") + "/v1/feedback", json=body, headers=self._service.key("app")
                )
        except (httpx.TransportError, FileNotFoundError):
            self.journal.count("feedback cut off")
            return False
        assert response.status_code in (202, 503), response.text
        self.journal.count(f"feedback answered {response.status_code}")
        if response.status_code == 503:
            assert int(response.headers["retry-after"]) >= 1
            return False
        self.journal.sent(mark, str(response.json()["id"]))
        return True

    @contextmanager
    def _under_way(self, mark: str) -> Iterator[None]:
        self._waiting[mark] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[mark]
