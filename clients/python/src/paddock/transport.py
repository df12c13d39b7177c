"""Requests: how they are built, sent, and sent again."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from .errors import UNEXPECTED, PaddockError
from .retry import Retries
from .version import VERSION

__all__ = ["Transport", "new_key", "segment"]

CONNECT_SECONDS = 10.0
"""How long a connection may take to come about, in seconds."""
USER_AGENT = f"paddock-python/{VERSION}"

Params = Mapping[str, str | int]


def new_key() -> str:
    """An idempotency key that no other request has."""
    return uuid.uuid4().hex


def segment(value: str) -> str:
    """An id as a part of a path. What is none, ``..`` for example, would name another path: ``ValueError``."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value):
        raise ValueError(f"not an id: {value!r}")
    return value


def encode(body: Any) -> bytes:
    """A body as JSON. ``ValueError`` or ``TypeError`` for what JSON does not have."""
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


class Transport:
    """Sends requests to one server with one credential."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        http: httpx.AsyncClient | None,
        *,
        max_retries: int,
        timeout: float,
        silence: float,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError("base_url must begin with http:// or https://")
        self.base_url = base_url.rstrip("/")
        self.max_retries = max_retries
        self.silence = silence
        self._timeout = timeout
        self._api_key = api_key
        self._owns_http = http is None
        # Each stream holds a connection for as long as it is followed, so there is no bound but the server's.
        self._http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=20))

    async def aclose(self) -> None:
        """Closes the connections, if they are this client's own."""
        if self._owns_http:
            await self._http.aclose()

    def retries(self) -> Retries:
        """A fresh count of failures."""
        return Retries(self.max_retries)

    def headers(self, key: str | None = None) -> dict[str, str]:
        """The headers that every request has, and the idempotency key."""
        headers = {"User-Agent": USER_AGENT}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        if key is not None:
            headers["Idempotency-Key"] = key
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str | None = None,
        patient: bool = False,
    ) -> httpx.Response:
        """Sends a request until it is answered, and returns the answer.

        It must be one that can be sent twice: one that reads or sets, or one with a ``key``. One that is ``patient``
        waits for its answer as long as the server can be reached; others for the client's ``timeout``.

        Raises ``PaddockError`` if the server refuses, ``PaddockConnectionError`` if it does not answer.
        """
        request = self._build(method, path, params, body, key, self._timeout)
        retries = self.retries()
        while True:
            try:
                response = await self._http.send(request)
            except httpx.ReadTimeout as lost:
                if not patient:
                    await retries.after_loss(lost)
            except (httpx.UnsupportedProtocol, httpx.LocalProtocolError):
                raise  # The request itself is wrong, and stays so.
            except httpx.TransportError as lost:
                await retries.after_loss(lost)
            else:
                if response.is_success:
                    return response
                await retries.after_refusal(PaddockError.from_response(response))

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that a request is answered with. Takes what ``request`` takes."""
        return read_json(await self.request(method, path, **options))

    async def pages(self, path: str, params: Params) -> AsyncIterator[Any]:
        """The entries of a list, page after page. Each page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            asked = dict(params) if cursor is None else {**params, "cursor": cursor}
            page = await self.json("GET", path, params=asked)
            for entry in page["data"]:
                yield entry
            cursor = page["next_cursor"]
            if cursor is None:
                return

    @asynccontextmanager
    async def open(
        self, method: str, path: str, *, params: Params, body: bytes | None, key: str | None, after: int | None
    ) -> AsyncIterator[httpx.Response]:
        """Opens a stream of server-sent events, once; after the event ``after``, if that is given.

        The response is of status 200, or 204: nothing more will come. Raises ``PaddockError``, and what httpx raises.
        """
        request = self._build(method, path, params, body, key, self.silence)
        request.headers["Accept"] = "text/event-stream"
        request.headers["Accept-Encoding"] = "identity"
        if after is not None:
            request.headers["Last-Event-ID"] = str(after)
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                await response.aread()
                raise PaddockError.from_response(response)
            kind = response.headers.get("content-type", "")
            if response.status_code != 204 and not kind.startswith("text/event-stream"):
                raise PaddockError(response.status_code, UNEXPECTED, detail=f"a stream was expected, not {kind!r}")
            yield response
        finally:
            await response.aclose()

    def _build(
        self, method: str, path: str, params: Params | None, body: Any, key: str | None, patience: float
    ) -> httpx.Request:
        headers = self.headers(key)
        content: bytes | None = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            # Written once: what is sent again with a key must be the same, byte by byte.
            content = body if isinstance(body, bytes) else encode(body)
        return self._http.build_request(
            method,
            self.base_url + path,
            params=params,
            content=content,
            headers=headers,
            timeout=httpx.Timeout(patience, connect=CONNECT_SECONDS),
        )


def read_json(response: httpx.Response) -> Any:
    """The JSON of an answer; ``PaddockError`` of code ``unexpected_answer`` if it is none."""
    try:
        return response.json()
    except ValueError:
        raise PaddockError(response.status_code, UNEXPECTED, detail="the answer is not JSON") from None
