"""Every error as RFC 9457 problem+json: one function that writes it, and the handlers that call it.

The sentences come from where the error was raised: `service.domain.errors`, or `prolu.spec.mistakes` for bodies, so
that the API and the command line say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from prolu.client.wire import Problem, ProblemItem
from prolu.spec import Mistake, SpecError, validate
from prolu.spec.masking import masked
from prolu.spec.mistakes import about
from service.api.parameters import wrong_parameters
from service.domain.errors import (
    InsufficientScope,
    Invalid,
    ServiceError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsatisfiableRange,
    WrongMediaType,
    WrongParameter,
)

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"

_CODES = {400: "malformed_request", 413: "body_too_large"}


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    mistakes: Sequence[Mistake] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write a problem."""
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=masked(detail),
        code=code,
        request_id=request_id,
        errors=problem_items(mistakes),
    )
    return Response(
        document.model_dump_json(), status, headers={**(headers or {}), REQUEST_ID: request_id}, media_type=MEDIA_TYPE
    )


def problem_items(mistakes: Sequence[Mistake]) -> list[ProblemItem]:
    """Say where each mistake is and what it is, for programs."""
    return [ProblemItem(pointer=masked(mistake.pointer), detail=masked(mistake.sentence)) for mistake in mistakes]


def install(app: FastAPI) -> None:
    """Have every error of the app answered with a problem."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(SpecError, _on_spec_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, _on_database_out_of_reach)
    app.add_exception_handler(PoolTimeout, _on_database_out_of_reach)


def request_id_of(request: Request) -> str:
    """The identity that the middleware gave the request."""
    return str(request.scope.get("prolu.request_id", ""))


def for_service_error(error: ServiceError, request_id: str) -> Response:
    """Write an error of ours."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):  # as RFC 6750 says
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if error.has_token else "Bearer"
    if isinstance(error, InsufficientScope):
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.scope}"'
    if isinstance(error, Unavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, UnsatisfiableRange):
        headers["Content-Range"] = f"bytes */{error.size}"
    mistakes = error.mistakes if isinstance(error, Invalid) else ()
    return problem(error.status, error.code, error.sentence, request_id, mistakes=mistakes, headers=headers)


def invalid(mistakes: Sequence[Mistake], *within: str) -> Invalid:
    """Make the error of a body with these mistakes; their locations are relative to `within`."""
    placed = [Mistake((*within, *mistake.location), mistake.sentence) for mistake in mistakes]
    return Invalid(" ".join(mistake.sentence for mistake in placed), placed)


def _on_service_error(request: Request, error: Any) -> Response:
    return for_service_error(error, request_id_of(request))


def _on_spec_error(request: Request, error: Any) -> Response:
    return for_service_error(invalid(error.mistakes), request_id_of(request))


def _on_invalid_request(request: Request, error: Any) -> Response:
    complaints = error.errors()
    if complaints[0]["type"] == "json_invalid":
        detail = f"The body is not JSON: {complaints[0]['ctx']['error']} at character {complaints[0]['loc'][-1]}; correct it."
        return problem(400, _CODES[400], detail, request_id_of(request))
    if of_parameters := [complaint for complaint in complaints if complaint["loc"][0] != "body"]:
        return for_service_error(wrong_parameters(_of_parameters(of_parameters)), request_id_of(request))
    if error.body is not None and not _says_json(request):
        got = request.headers.get("content-type", "missing")[:80]
        refusal = WrongMediaType(f"The Content-Type of the body is {got}; send application/json.")
        return for_service_error(refusal, request_id_of(request))
    return for_service_error(_of_body(request, error), request_id_of(request))


def _of_parameters(complaints: Sequence[Any]) -> list[WrongParameter]:
    mistakes = []
    for complaint in complaints:
        kind, name = complaint["loc"][:2]
        sentence = about(complaint, f"The {kind} parameter {name}", complaint["input"])
        mistakes.append(WrongParameter((kind, name), sentence))
    return mistakes


def _of_body(request: Request, error: RequestValidationError) -> Invalid:
    """Say it as the command line does: validate once more, with the sentences of the job language."""
    model: type[BaseModel] = request.scope["route"].body_field.field_info.annotation
    try:
        validate(error.body, model)
    except SpecError as mistaken:
        return invalid(mistaken.mistakes)
    return Invalid(f"The body is not valid: {error.errors()[0]['msg']}.")


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _on_http_exception(request: Request, error: Any) -> Response:
    status = error.status_code
    detail = _unreadable(error.__cause__) if status == HTTPStatus.BAD_REQUEST else str(error.detail)
    code = _CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_"))
    return problem(status, code, detail, request_id_of(request), headers=error.headers)


def _unreadable(cause: BaseException | None) -> str:
    if isinstance(cause, UnicodeDecodeError):
        wrong = f"byte {cause.object[cause.start]:#04x} at position {cause.start}"
        return f"The body is not UTF-8 ({wrong}); send JSON in UTF-8."
    return "The body could not be read as JSON (nested too deeply, or with numbers too long); correct it."


def _on_database_out_of_reach(request: Request, error: Any) -> Response:
    known = isinstance(error, DBAPIError)
    why = str(error.orig).strip().splitlines()[0][:200] if known and str(error.orig) else type(error).__name__
    sentence = f"The database does not answer ({why}); nothing was changed, try again."
    return for_service_error(Unavailable(sentence), request_id_of(request))
