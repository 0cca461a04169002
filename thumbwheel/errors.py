"""The tree of errors; a package's own control flow (Moved, Ended, ClientLeft) stays with it.

    ThumbwheelError
    ├── SettingsError            settings are wrong; every problem at once
    ├── RequestError             the caller's doing; carries an HTTP status and OpenAI's error fields
    │   ├── InvalidRequest       400
    │   ├── Unauthenticated      401
    │   ├── Forbidden            403
    │   ├── NotFound             404
    │   ├── MethodNotAllowed     405, with allow
    │   ├── Conflict             409
    │   ├── TooLarge             413
    │   ├── UnsupportedMedia     415
    │   ├── RateLimited          429, with retry-after
    │   ├── HeadTooLarge         431
    │   └── Unavailable          503, with retry-after
    ├── EngineError              an engine's doing
    │   ├── EngineUnreachable    no connection, or it broke
    │   │   └── EngineTooSlow    connected, and no whole answer in the time allowed
    │   ├── ReleaseFailed        the engine's answer is about the release: unknown name, adapter refused, 5xx
    │   └── ClientRejected       the engine's answer is about the request: a 400 that is the client's
    ├── ArtifactError
    │   ├── UnknownArtifact      no complete artifact under that sum
    │   ├── ArtifactCorrupt      a file does not match its manifest
    │   └── AdapterRefused       an adapter that must not be served; carries a reason code
    ├── StoreError
    │   ├── StoreUnavailable     locked for too long, disk full, away
    │   │   └── BrokersRefuse    Kafka is there and lets us in not, or not everywhere; carries what to do
    │   ├── StoreRefused         the database says that a statement is wrong: a bug, and no outage
    │   └── LostRace             a compare-and-set found another state than expected
    ├── JobError                 a run's step cannot go on; carries what to do
    ├── NotRunning               no service answers from this data directory
    ├── AlreadyUp                another `up` runs in this data directory
    └── EngineHopeless           the engine says at each start that its settings are wrong

Messages that reach a client say what to do and hold no path, address or stack.
"""

from __future__ import annotations

from collections.abc import Sequence


class ThumbwheelError(Exception):
    """The root of the tree; never raised itself."""


class SettingsError(ThumbwheelError):
    """Settings are wrong. `problems` are (key, what it held, what would be right)."""

    def __init__(self, problems: Sequence[tuple[str, str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{key}: {held}; {right}" for key, held, right in problems))


class RequestError(ThumbwheelError):
    """A request that cannot be served as it stands. `usual_code` is the code of one that is given no other."""

    status = 400
    type = "invalid_request_error"
    usual_code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.usual_code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, dict[str, str | None]]:
        """The error in OpenAI's shape."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(RequestError):
    """400: malformed, an unknown field, a value out of range."""

    usual_code = "invalid_value"


class Unauthenticated(RequestError):
    """401: no key, or none that is known."""

    status = 401
    type = "authentication_error"


class Forbidden(RequestError):
    """403: another tenant's, or a right that the key lacks."""

    status = 403
    type = "permission_error"


class NotFound(RequestError):
    """404: an unknown channel or id."""

    status = 404
    usual_code = "unknown_id"


class MethodNotAllowed(RequestError):
    """405: the route is there, and takes other methods; `allow` names them."""

    status = 405

    def __init__(self, method: str, allow: Sequence[str]) -> None:
        super().__init__(f"This route takes {', '.join(allow)}, not {method[:16]}.", code="method_not_allowed")
        self.allow = tuple(allow)


class Conflict(RequestError):
    """409: the state forbids it."""

    status = 409
    type = "conflict_error"
    usual_code = "wrong_state"


class TooLarge(RequestError):
    """413: the body is over the limit."""

    status = 413


class UnsupportedMedia(RequestError):
    """415: the body is no JSON by its content type."""

    status = 415
    usual_code = "unsupported_media_type"


class RateLimited(RequestError):
    """429: too much of one key at a time; `retry_after` is in seconds."""

    status = 429
    type = "rate_limit_error"


class HeadTooLarge(RequestError):
    """431: the head of the request is over the limit."""

    status = 431


class Unavailable(RequestError):
    """503: not now; `retry_after` is in seconds."""

    status = 503
    type = "service_unavailable_error"
    usual_code = "unavailable"


class EngineError(ThumbwheelError):
    """An engine did not answer as it should. `said` is what it said itself, which may quote the request."""

    def __init__(self, message: str, *, said: str | None = None) -> None:
        super().__init__(message)
        self.said = said


class EngineUnreachable(EngineError):
    """No connection to the engine, or it broke before an answer."""


class EngineTooSlow(EngineUnreachable):
    """The engine took the request and gave no whole answer in the time allowed."""


class ReleaseFailed(EngineError):
    """The engine's answer is about the release. It counts against the variant that was assigned."""

    def __init__(self, message: str, *, status: int, said: str | None = None) -> None:
        super().__init__(message, said=said)
        self.status = status


class ClientRejected(EngineError):
    """The engine's 400 is the client's own; `payload` is its error object. It never counts against a variant."""

    def __init__(self, payload: dict[str, object], *, status: int) -> None:
        super().__init__(f"the engine refused the request with {status}", said=str(payload.get("message", "")))
        self.payload = payload
        self.status = status


class ArtifactError(ThumbwheelError):
    """A stored result cannot be used."""


class UnknownArtifact(ArtifactError):
    """No complete artifact lies under that sum."""


class ArtifactCorrupt(ArtifactError):
    """A file does not match the sum in its manifest."""


class AdapterRefused(ArtifactError):
    """An adapter that must not be served. `reason` is a stable code, the message says which tensor or key."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(ThumbwheelError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """Store, event log or artifact store: locked for too long, disk full, or away. Later it may go."""


class BrokersRefuse(StoreUnavailable):
    """The brokers are there, and this service's settings do not let it in; `advice` says what to look at."""

    def __init__(self, told: str, advice: str) -> None:
        self.advice = advice
        super().__init__(f"{told}; {advice}")


class StoreRefused(StoreError):
    """The database refuses a statement as wrong (a constraint, a type). Trying again does not help."""


class LostRace(StoreError):
    """A compare-and-set found another state than the one it was told to expect."""


class JobError(ThumbwheelError):
    """A run's step cannot go on. The message is what `thumbwheel why` shows."""


class NotRunning(ThumbwheelError):
    """No service answers from this data directory."""


class AlreadyUp(ThumbwheelError):
    """Another `up` runs in this data directory."""


class EngineHopeless(ThumbwheelError):
    """The engine says that its settings are wrong, and says so each time."""
