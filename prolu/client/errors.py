"""Everything that can go wrong between you and the service.

ProluError
 ├─ ConnectionFailed        no service is known, or none answers
 ├─ UnusableToken           the token that was found cannot be sent
 ├─ UnreadableAnswer        it answers in a form that this client does not know
 ├─ DownloadFailed          what came is not what was announced
 ├─ NoSuchUser              nobody has the name that was given
 ├─ NoSuchCheckpoint        the run has none there
 ├─ ChoreFailed             an export, or statistics computed again, could not be made
 ├─ WaitedTooLong           the time given to `wait` is over
 └─ ApiError                it answers with a problem (RFC 9457): `.problem`
     ├─ Invalid             400, 413, 415, 422: the request is wrong; `.problem.errors` says where
     ├─ Unauthorized        401: no token, or not a good one
     ├─ Forbidden           403: a good token, but not for this
     ├─ NotFound            404
     ├─ Conflict            409, 412: not in this state
     ├─ TooManyRequests     429
     └─ ServiceFailed       5xx
"""

from __future__ import annotations

from prolu.client.wire import Problem


class ProluError(Exception):
    """What this package raises on purpose; the message is a sentence for people."""


class ConnectionFailed(ProluError):
    """No service is known, or none answers at the address."""


class UnusableToken(ProluError):
    """What was found as a token cannot be sent; the sentence says where it was found, and never what it is."""


class UnreadableAnswer(ProluError):
    """The service answers in a form that this client does not know."""


class DownloadFailed(ProluError):
    """A downloaded file is not what the service announced, or has a name that leads out of its folder."""


class NoSuchUser(ProluError):
    """Nobody has the name that was given."""


class NoSuchCheckpoint(ProluError):
    """The run has no checkpoint, or none at that step."""


class ChoreFailed(ProluError):
    """What was asked of the cluster with a checkpoint could not be done; the sentence says why."""


class WaitedTooLong(ProluError):
    """The time given to `wait` is over, and the work is not."""


class ApiError(ProluError):
    """The service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class Invalid(ApiError):
    """The request is wrong; `problem.errors` points to each wrong field."""


class Unauthorized(ApiError):
    """No token came along, or not a good one."""


class Forbidden(ApiError):
    """The token is good, but not for this."""


class NotFound(ApiError):
    """There is no such thing, or not for you."""


class Conflict(ApiError):
    """The thing is in a state that does not allow it; the sentence names the state."""


class TooManyRequests(ApiError):
    """Too many requests in too short a time."""


class ServiceFailed(ApiError):
    """The service could not do its part."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: TooManyRequests,
}


def error_for(problem: Problem) -> ApiError:
    """The exception that stands for a problem, by its status."""
    fallback = ServiceFailed if problem.status >= 500 else Invalid
    return _BY_STATUS.get(problem.status, fallback)(problem)
