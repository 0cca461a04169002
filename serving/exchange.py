"""One request on its way through the gateway: what was asked of whom, what came of it, and the event that it becomes.

What an engine says is taken where it has the right form and passed over where it has not: any server may be upstream.
It knows nothing of how an engine is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serving.asking import Asking
from serving.replies import Reply
from thumbwheel.errors import EngineError
from thumbwheel.events import InferenceEvent
from thumbwheel.records import Channel, Key, Variant

MORE_TOKENS_THAN_ANY = 2**31  # a column of the store holds less


@dataclass
class Exchange:
    """One request on its way; filled in as it goes, and logged when it ends."""

    asking: Asking
    key: Key
    channel: Channel
    variant: Variant
    reply: Reply
    id: str
    at_ms: int
    began: float
    served_by: str = ""
    attempt: int = 0
    first_token: float | None = None
    answered: float | None = None
    text: list[str] = field(default_factory=list)
    tool_calls: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    kept_s: float = 0.0  # of the time up to `answered`, what the client took to read

    @property
    def keeps_text(self) -> bool:
        """Whether anything that a user or an engine said may be written down."""
        return self.channel.policies.log == "full" and self.asking.may_store

    @property
    def sent(self) -> bool:
        """Whether the first byte has gone out."""
        return self.reply.begun

    def restart(self) -> None:
        """Another attempt begins; nothing of the last one has gone out."""
        self.attempt += 1
        self.text, self.tool_calls, self.finish_reason = [], False, None
        self.first_token = self.answered = self.prompt_tokens = self.completion_tokens = None

    def note(self, error: EngineError) -> None:
        """Note what went wrong: in our words, and in the engine's where they may be kept."""
        self.error = f"{error}: {error.said}" if error.said and self.keeps_text else str(error)

    def read(self, choice: dict[str, Any]) -> bool:
        """Note what a choice, or a chunk's part of one, says; whether it says anything."""
        part = choice.get("delta") or choice.get("message") or {}
        said = choice.get("text") or part.get("content")
        text = said if isinstance(said, str) else ""
        says = bool(said or part.get("tool_calls") or part.get("reasoning") or choice.get("finish_reason"))
        if choice.get("index", 0) == 0:
            self.text.append(text)
            self.tool_calls |= bool(part.get("tool_calls"))
            reason = choice.get("finish_reason")
            self.finish_reason = reason if isinstance(reason, str) else self.finish_reason
        return says

    def count(self, usage: object) -> None:
        """Note an answer's token counts."""
        if isinstance(usage, dict):
            self.prompt_tokens = _whole(usage.get("prompt_tokens"))
            self.completion_tokens = _whole(usage.get("completion_tokens"))


def _whole(number: object) -> int | None:
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MORE_TOKENS_THAN_ANY:
        return number
    return None


def as_event(exchange: Exchange, status: str, now: float) -> InferenceEvent:
    """The exchange as it is logged; `now` is on the clock of `began`, in seconds."""
    asking, policies = exchange.asking, exchange.channel.policies
    text = "".join(exchange.text)
    # An answer that only calls tools has no text, and is not an empty answer; nor is one that never began.
    nothing = not text and (exchange.tool_calls or exchange.answered is None)
    took = ((exchange.answered or now) - exchange.began - exchange.kept_s) * 1e3
    return InferenceEvent(
        id=exchange.id,
        tenant=exchange.key.tenant,
        channel=exchange.channel.name,
        unit=asking.unit,
        at_ms=exchange.at_ms,
        assigned=exchange.variant.release,
        role=exchange.variant.role,
        served_by=exchange.served_by,
        status=status,
        streamed=asking.stream,
        rollout=exchange.channel.rollout,
        key=exchange.key.id,
        messages=asking.messages,
        answer=None if nothing else text,
        finish_reason=exchange.finish_reason,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        ttft_ms=None if exchange.first_token is None else (exchange.first_token - exchange.began) * 1e3,
        e2e_ms=took,
        error=exchange.error,
        trainable=policies.train and asking.may_store,
    )
