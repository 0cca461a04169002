"""Feedback that comes at odd times: before its inference, three days after it, and from machines an hour apart.

Their inferences were answered by another machine's gateway, which has the same secret: their ids are minted as it would
mint them, and their records go into the log as it would write them. The feedback goes to this service's own API, but
for two words of one author that two machines took, whose clocks are apart: those go into the log too.
"""

from __future__ import annotations

import httpx

from tests.chaos.load import CHANNEL
from tests.chaos.scene import HOUR_S, Scene
from tests.integration.service import complaint
from thumbwheel.clock import system_clock
from thumbwheel.events import FEEDBACK, INFERENCE, FeedbackEvent, InferenceEvent, encode
from thumbwheel.home import Home, read_secret
from thumbwheel.ids import feedback_id, mint_inference_id

DAY_MS = 86_400_000
TENANT = "default"
FIRST = 500_000  # numbers that no person of the load has


class Strangers:
    """What `before` says has no inference until `after` writes it."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._secret = scene, read_secret(Home(scene.service.home))
        self._early: list[InferenceEvent] = []
        self._number = FIRST
        self._http = httpx.Client(trust_env=False, timeout=30)

    def before(self, count: int = 5) -> None:
        """Feedback whose inference is still on its way; one of them from a gateway an hour ahead, one behind."""
        for n in range(count):
            event = self._inference((n % 3 - 1) * HOUR_S * 1000)
            self._early.append(event)
            self._say(event, "early")

    def late(self, count: int = 5) -> None:
        """Feedback three days after its inference."""
        events = [self._inference(-3 * DAY_MS) for _ in range(count)]
        self._log(INFERENCE, [(event.id, encode(event)) for event in events])
        for event in events:
            self._say(event, "late")

    def apart(self, count: int = 3) -> None:
        """One author says two things, on machines whose clocks are two hours apart, the later one's behind."""
        for _ in range(count):
            event = self._inference(0)
            self._log(INFERENCE, [(event.id, encode(event))])
            for at, hours in enumerate((1, -1)):
                mark = f"apart{self._number}.{at}"
                words = f"CASE other. Word {at}."
                id_ = feedback_id(event.id, None, f"{mark} {words}".encode())
                at_ms = system_clock() + hours * HOUR_S * 1000
                said = FeedbackEvent(id_, event.id, TENANT, CHANNEL, at_ms, correction=words, tags=[mark])
                self._scene.load.journal.sent(mark)
                self._log(FEEDBACK, [(event.id, encode(said))])
                self._scene.load.journal.sent(mark, id_)

    def after(self) -> None:
        """The inferences that were waited for."""
        self._log(INFERENCE, [(event.id, encode(event)) for event in self._early])
        self._early.clear()

    def close(self) -> None:
        self._http.close()

    def _inference(self, ahead_ms: int) -> InferenceEvent:
        self._number += 1
        at_ms = system_clock() + ahead_ms
        stable = self._scene.service.view(CHANNEL)["stable"]
        served = {"assigned": stable, "role": "stable", "served_by": stable, "status": "ok", "answer": "Oh."}
        told: list[dict[str, object]] = [{"role": "user", "content": complaint(self._number)[0]}]
        id_ = mint_inference_id("chatcmpl", CHANNEL, TENANT, at_ms, self._secret)
        return InferenceEvent(id_, TENANT, CHANNEL, f"stranger{self._number}", at_ms, messages=told, **served)  # type: ignore[arg-type]

    def _say(self, event: InferenceEvent, kind: str) -> None:
        right = complaint(int(event.unit.removeprefix("stranger")))[1]
        heard = self._scene.load.say(self._http, event.id, f"{kind}{event.unit}", thumb="down", correction=right)
        assert heard, f"{kind} feedback was not taken"

    def _log(self, topic: str, lines: list[tuple[str, bytes]]) -> None:
        self._scene.log.append(topic, lines, durable=True)
