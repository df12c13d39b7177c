"""The client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, cast

import httpx

from .permissions import OnPermission, PermissionDesk
from .resources import Permissions, Sessions, Turns, given
from .socket import SessionSocket
from .streaming import EventStream, StreamRequest, prompt
from .transport import Transport, encode, new_key, segment
from .types import Attachment, ChatAnswer, Health, Interrupted, Me, Message, Model, OnBusy, OnLost, Turn, UsageSum

__all__ = ["Paddock"]


class Paddock:
    """A client of one server, for asyncio.

    ::

        async with Paddock("http://127.0.0.1:8000") as paddock:
            session = await paddock.sessions.create("alice")
            answer = await paddock.chat(session["session_id"], "What is in this folder?")

    All methods raise ``PaddockError`` when the server refuses and ``PaddockConnectionError`` when it does not answer.
    Requests are sent again, at most ``max_retries`` times in a row, after a lost connection and after 429 and 503 with
    ``Retry-After``; nothing is done twice by that, because each request that creates or runs has an idempotency key.
    Give ``idempotency_key`` yourself where the same must also hold over a restart of your own program.
    """

    sessions: Sessions
    """Make, read, change and close sessions."""
    turns: Turns
    """Read and cancel turns."""
    permissions: Permissions
    """Read and answer what agents ask."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        http: httpx.AsyncClient | None = None,
        max_retries: int = 5,
        timeout: float = 60.0,
        silence: float = 45.0,
    ) -> None:
        """``base_url`` is where the server is, ``api_key`` a key of it (none is needed where authentication is off).

        ``http``: a client to send with, which stays open. ``timeout``: how long an answer may take, in seconds; turns
        may take longer. ``silence``: after how many seconds without a byte a stream counts as lost; must be more than
        the server's ``events.heartbeat`` (10 s). ``ValueError`` when ``base_url`` is no HTTP address.
        """
        self._transport = Transport(
            base_url, api_key, http, max_retries=max_retries, timeout=timeout, silence=silence
        )
        self.sessions = Sessions(self._transport)
        self.turns = Turns(self._transport)
        self.permissions = Permissions(self._transport)

    async def __aenter__(self) -> Paddock:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. Turns go on."""
        await self._transport.aclose()

    async def chat(
        self,
        session_id: str,
        message: str,
        *,
        attachments: Sequence[Attachment] | None = None,
        timeout: int | None = None,
        on_busy: OnBusy | None = None,
        on_lost: OnLost | None = None,
        idempotency_key: str | None = None,
    ) -> ChatAnswer:
        """Runs a turn and returns its whole answer, however long it takes.

        ``timeout``: after how many seconds the server interrupts the turn. A turn that does not complete is a
        ``PaddockError`` with its ``turn_id``: ``turn_interrupted``, ``turn_timeout``, ``model_error``, …. A session
        that has a turn already is ``session_busy``, unless ``on_busy`` is ``queue`` or ``interrupt``. Where tools may
        ask for permission, somebody else must answer; ``stream`` takes a callback.
        """
        body = {"session_id": session_id, **prompt(message, attachments, timeout, on_busy, on_lost)}
        key = idempotency_key or new_key()
        return cast(
            ChatAnswer, await self._transport.json("POST", "/api/v1/chat", body=body, key=key, patient=True)
        )

    def stream(
        self,
        session_id: str,
        message: str,
        *,
        attachments: Sequence[Attachment] | None = None,
        timeout: int | None = None,
        on_busy: OnBusy | None = None,
        on_lost: OnLost | None = None,
        on_permission: OnPermission | None = None,
        after: int | None = None,
        idempotency_key: str | None = None,
    ) -> EventStream:
        """Runs a turn and gives its events as they come, to its ``done`` or ``error``.

        A cut connection is made again, and no event is missed or told twice. ``on_permission`` is asked for each
        ``permission_request``. ``after`` goes on with the stream of an earlier program: give the id of the last event
        that it got, and the same message and ``idempotency_key``.

        Takes otherwise what ``chat`` takes. The turn begins with the first iteration.
        """
        if after is not None and idempotency_key is None:
            raise ValueError("after goes with the idempotency_key of the stream that is to go on")
        request = StreamRequest(
            session_id,
            "POST",
            f"/api/v1/sessions/{segment(session_id)}/stream",
            {},
            body=encode(prompt(message, attachments, timeout, on_busy, on_lost)),
            key=idempotency_key or new_key(),
            after=after,
            one_turn=True,
        )
        return EventStream(self._transport, request, self._desk(session_id, on_permission))

    async def submit(
        self,
        session_id: str,
        message: str,
        *,
        attachments: Sequence[Attachment] | None = None,
        timeout: int | None = None,
        on_busy: OnBusy | None = None,
        on_lost: OnLost | None = None,
        idempotency_key: str | None = None,
    ) -> Turn:
        """Begins a turn and waits for nothing. ``turns.get`` tells how it stands, ``events`` what happens.

        Takes what ``chat`` takes.
        """
        body = prompt(message, attachments, timeout, on_busy, on_lost)
        path = f"/api/v1/sessions/{segment(session_id)}/turns"
        return cast(Turn, await self._transport.json("POST", path, body=body, key=idempotency_key or new_key()))

    async def interrupt(self, session_id: str, *, idempotency_key: str | None = None) -> Interrupted:
        """Ends the turn that runs; what was done so far is kept. Nothing happens when none does."""
        path = f"/api/v1/sessions/{segment(session_id)}/interrupt"
        return cast(Interrupted, await self._transport.json("POST", path, key=idempotency_key or new_key()))

    def messages(self, session_id: str, *, page_size: int | None = None) -> AsyncIterator[Message]:
        """The conversation so far, oldest first. Pages come as needed."""
        return self._transport.pages(f"/api/v1/sessions/{segment(session_id)}/messages", given(limit=page_size))

    def events(
        self,
        session_id: str,
        *,
        after: int = 0,
        follow: bool = True,
        types: Iterable[str] | None = None,
        deltas: bool | None = None,
        turn: str | None = None,
        raw: bool | None = None,
        on_permission: OnPermission | None = None,
    ) -> EventStream:
        """A session's log after the event ``after``, and then what comes; it ends when the session is closed.

        ``follow=False`` ends at the end of the log. ``types``: only those. ``deltas=False``: no pieces of text.
        ``turn``: only that turn's, to its last. ``raw=True``: the CLI's messages too, where the session keeps them.
        ``on_permission`` is asked for questions that still wait.

        Raises ``PaddockError``: ``session_not_found``, ``invalid_cursor``, ….
        """
        flags = {"follow": follow, "deltas": deltas, "raw": raw}
        params = {name: "true" if value else "false" for name, value in flags.items() if value is not None}
        params.update(given(types=None if types is None else ",".join(types), turn=turn))
        request = StreamRequest(
            session_id,
            "GET",
            f"/api/v1/sessions/{segment(session_id)}/events",
            params,
            after=after,
            one_turn=turn is not None,
            follows=follow,
        )
        return EventStream(self._transport, request, self._desk(session_id, on_permission))

    def socket(
        self,
        session_id: str,
        *,
        after: int = 0,
        types: Iterable[str] | None = None,
        deltas: bool | None = None,
        raw: bool | None = None,
        on_permission: OnPermission | None = None,
    ) -> SessionSocket:
        """A WebSocket to a session: commands one way, its events the other. Takes what ``events`` takes.

        Use it with ``async with``, which connects.
        """
        flags = {"deltas": deltas, "raw": raw}
        params = {name: "true" if value else "false" for name, value in flags.items() if value is not None}
        params.update(given(types=None if types is None else ",".join(types)))
        return SessionSocket(
            self._transport, session_id, params, after, self._desk(session_id, on_permission)
        )

    async def usage(
        self,
        *,
        group_by: Iterable[str] | None = None,
        since: datetime | str | None = None,
        before: datetime | str | None = None,
        tenant: str | None = None,
        user_id: str | None = None,
        key_id: str | None = None,
        session_id: str | None = None,
    ) -> list[UsageSum]:
        """Sums of what was used, told apart by ``group_by``; one sum without it.

        ``group_by`` is any of ``day``, ``tenant``, ``user``, ``key``, ``session``, ``model``.
        ``since`` and ``before`` are times with a zone, or texts of RFC 3339.
        """
        params = given(
            group_by=None if group_by is None else ",".join(group_by),
            before=_time(before),
            tenant=tenant,
            user_id=user_id,
            key_id=key_id,
            session_id=session_id,
        )
        params.update(given(**{"from": _time(since)}))
        return cast("list[UsageSum]", await self._data("/api/v1/usage", params))

    async def me(self) -> Me:
        """Who the caller is, and what is left of its budgets. ``PaddockError`` ``unauthenticated`` for a wrong key."""
        return cast(Me, await self._transport.json("GET", "/api/v1/me"))

    async def models(self) -> list[Model]:
        """The models that sessions can ask for."""
        return cast("list[Model]", await self._data("/api/v1/models", {}))

    async def health(self) -> Health:
        """How the server is. It needs no key. ``PaddockError`` of status 503 when its store does not answer."""
        return cast(Health, await self._transport.json("GET", "/health"))

    async def _data(self, path: str, params: dict[str, Any]) -> Any:
        return (await self._transport.json("GET", path, params=params))["data"]

    def _desk(self, session_id: str, callback: OnPermission | None) -> PermissionDesk:
        return PermissionDesk(self.permissions, session_id, callback)


def _time(time: datetime | str | None) -> str | None:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError("a time needs a zone")
        return time.isoformat()
    return time
