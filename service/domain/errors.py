"""Every refusal of the service; the HTTP layer turns each into a problem with one handler.

ServiceError
 ├─ Unauthenticated          401
 ├─ Forbidden                403
 │   └─ InsufficientScope        the user may, the token may not
 ├─ NotFound                 404
 ├─ Conflict                 409
 │   ├─ IllegalTransition        a run's state does not allow it
 │   └─ Damaged                  what is stored is not what was written
 ├─ PreconditionFailed       412  it changed since the If-Match of the request was read
 ├─ TooLarge                 413
 ├─ WrongMediaType           415
 ├─ UnsatisfiableRange       416  no byte of the file is in the range
 ├─ Invalid                  422  names the wrong places of the body
 │   ├─ InvalidCursor             a cursor that this list did not give out
 │   └─ KeyReused                 an Idempotency-Key that came with another body
 ├─ TooManyRequests          429  try again later
 └─ Unavailable              503  something the service depends on is out of reach; try again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from prolu.spec.mistakes import Mistake


@dataclass(frozen=True)
class WrongParameter(Mistake):
    """A parameter of the request that is wrong; its location is where it stands (query, path, header) and its name."""

    @property
    def pointer(self) -> str:
        """Name it as `query:limit`, since it has no place in the body."""
        where, name = self.location[:2]
        return f"{where}:{name}"


class ServiceError(Exception):
    """Carries an HTTP status, a code that programs may rely on, and a sentence that says what, got, do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class Unauthenticated(ServiceError):
    """No token, or one that counts for nothing: malformed, unknown, expired, revoked, or of a disabled user."""

    status = 401
    code = "unauthenticated"

    def __init__(self, sentence: str, *, has_token: bool = True) -> None:
        self.has_token = has_token
        super().__init__(sentence)


class Forbidden(ServiceError):
    """The user may not do this."""

    status = 403
    code = "forbidden"


class InsufficientScope(Forbidden):
    """The user may do this, and the token of the request may not."""

    code = "insufficient_scope"

    def __init__(self, sentence: str, scope: str) -> None:
        self.scope = scope
        super().__init__(sentence)


class NotFound(ServiceError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(ServiceError):
    """The present state of things does not allow it."""

    status = 409
    code = "conflict"


class IllegalTransition(Conflict):
    """A run's state does not allow what was asked; the sentence names the state."""

    code = "illegal_transition"


class Damaged(Conflict):
    """What the artifact store holds is not what was put there."""

    code = "damaged"


class QueueFull(Conflict):
    """A user has as many runs waiting as one user may."""

    code = "queue_full"


class PreconditionFailed(ServiceError):
    """What is to be changed has changed since the client looked."""

    status = 412
    code = "precondition_failed"


class TooLarge(ServiceError):
    """The body is longer than the service reads."""

    status = 413
    code = "body_too_large"


class WrongMediaType(ServiceError):
    """The body is not JSON by its own account."""

    status = 415
    code = "unsupported_media_type"


class UnsatisfiableRange(ServiceError):
    """The request asks for bytes of a file that it does not have; `size` says how many it has."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, sentence: str, size: int) -> None:
        self.size = size
        super().__init__(sentence)


class Invalid(ServiceError):
    """The request is well-formed and wrong; `mistakes` says where in the body, or which parameters."""

    status = 422
    code = "invalid_request"

    def __init__(self, sentence: str, mistakes: Sequence[Mistake] = ()) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(sentence)


class InvalidCursor(Invalid):
    """The cursor was not given out by this list."""

    code = "invalid_cursor"


class KeyReused(Invalid):
    """The Idempotency-Key was used before with a different body."""

    code = "idempotency_key_reused"


class TooManyRequests(ServiceError):
    """The user sends more requests than one user may."""

    status = 429
    code = "too_many_requests"

    def __init__(self, sentence: str, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(sentence)


class Unavailable(ServiceError):
    """Something that the service depends on does not answer; the same request may succeed later."""

    status = 503
    code = "unavailable"

    def __init__(self, sentence: str, retry_after_seconds: int = 5) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(sentence)
