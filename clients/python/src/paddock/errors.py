"""What goes wrong: the server's problems, lost connections, streams that are none."""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import httpx

__all__ = [
    "FieldError",
    "PaddockConnectionError",
    "PaddockError",
    "PaddockException",
    "PaddockStreamError",
]

UNEXPECTED = "unexpected_answer"
"""The code of an answer that is no problem of Paddock's: of a proxy in between, most likely."""


class FieldError(TypedDict):
    """One field, or query parameter, that cannot be used."""

    field: str
    """Its path: ``options.max_turns``."""
    code: str
    """What is wrong, by name: ``missing``, ``unknown``, ``wrong_type``, or a rule's name."""
    message: str
    """What is wrong, in words."""


class PaddockException(Exception):
    """What all errors of this package derive from."""


class PaddockError(PaddockException):
    """The server answered that it did not do what was asked: a problem as RFC 9457 has it.

    ``code`` is the name to branch on (``session_busy``, ``validation_failed``, …; the names are part of the API).
    An answer that is no such problem, a proxy's for example, has the code ``unexpected_answer``.
    """

    status: int
    """The HTTP status."""
    code: str
    """Why, by name."""
    title: str
    """What the code means, in words."""
    detail: str | None
    """What it means here, in words."""
    errors: list[FieldError]
    """The fields that cannot be used; empty for other codes than ``validation_failed`` and ``invalid_query``."""
    request_id: str | None
    """The request's id, to be found in the server's log."""
    retry_after: float | None
    """After how many seconds it makes sense to try again, if the server said so."""
    turn_id: str | None
    """The turn that ended this way. The same request with the same key would be answered the same."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        title: str = "",
        detail: str | None = None,
        errors: list[FieldError] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        turn_id: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = errors or []
        self.request_id = request_id
        self.retry_after = retry_after
        self.turn_id = turn_id
        super().__init__(self._words())

    def _words(self) -> str:
        words = f"{self.status} {self.code}"
        if told := self.detail or self.title:
            words += f": {told}"
        for error in self.errors:
            words += f"; {error['field']} {error['message']}"
        return words

    @classmethod
    def from_problem(
        cls, problem: Mapping[str, Any], *, status: int = 0, headers: Mapping[str, str] | None = None
    ) -> PaddockError:
        """The error that a problem's JSON tells of; ``status`` and ``headers`` are the answer's own, if it was one."""
        headers = headers or {}
        return cls(
            status or int(problem.get("status", 0)),
            str(problem.get("code", UNEXPECTED)),
            title=str(problem.get("title", "")),
            detail=problem.get("detail"),
            errors=problem.get("errors"),
            request_id=problem.get("request_id") or headers.get("x-request-id"),
            retry_after=seconds(headers.get("retry-after")),
            turn_id=problem.get("turn_id"),
        )

    @classmethod
    def from_answer(cls, status: int, headers: Mapping[str, str], body: bytes) -> PaddockError:
        """The error that an HTTP answer tells of, a problem or not. Names in ``headers`` are lower case."""
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        if isinstance(problem, dict) and isinstance(problem.get("code"), str):
            return cls.from_problem(problem, status=status, headers=headers)
        said = body[:200].decode("utf-8", "replace").strip()
        return cls(
            status,
            UNEXPECTED,
            detail=said or None,
            request_id=headers.get("x-request-id"),
            retry_after=seconds(headers.get("retry-after")),
        )

    @classmethod
    def from_response(cls, response: httpx.Response) -> PaddockError:
        """The error that a response tells of. Its body must have been read."""
        return cls.from_answer(response.status_code, response.headers, response.content)


class PaddockConnectionError(PaddockException):
    """There was no answer: the server could not be reached, or the connection was lost too often.

    What was asked may have been done. A request that is sent again with the same idempotency key is not done again.
    """


class PaddockStreamError(PaddockException):
    """What the server sent is no stream of events: a line too long, or no JSON."""


def seconds(retry_after: str | None) -> float | None:
    """What ``Retry-After`` says, in seconds from now: it is a number of seconds, or a date. ``None`` for neither."""
    if retry_after is None:
        return None
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return max(wait, 0.0) if math.isfinite(wait) else None
