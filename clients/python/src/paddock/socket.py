"""A session over a WebSocket that connects again by itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from .errors import PaddockConnectionError, PaddockError, PaddockException, PaddockStreamError
from .events import Event
from .permissions import PermissionDesk
from .retry import Retries
from .sse import EVENT_MAX_BYTES
from .streaming import STEADY_SECONDS, event_of, prompt
from .transport import CONNECT_SECONDS, USER_AGENT, Transport, new_key, segment
from .types import Attachment, OnBusy, OnLost, PermissionAnswer, PermissionMode

__all__ = ["SessionSocket"]

EVENTS_HELD = 1000
"""How many events wait for their reader. What is more is left in the log, and read again when there is room."""
CLOSE_SECONDS = 0.5
"""How long the other side is waited for when a connection is closed, in seconds. Nothing is missed without it."""
FAULTY_MESSAGE = frozenset({1002, 1003, 1009})
"""Codes of a connection that was closed for what we sent: it would be closed again for the same."""
TOO_LONG = 1009


@dataclass
class _Command:
    text: str
    can_repeat: bool
    answer: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sent_on: ClientConnection | None = None


class SessionSocket(AsyncIterator[Event]):
    """Commands to a session, and its events, over as many connections as it takes.

    ::

        async with paddock.socket(session_id) as socket:
            turn_id = await socket.message("Hello")
            async for event in socket:
                ...

    Events come once and in order; iterate in one task. Commands may be given from any task; each waits for its answer
    and raises ``PaddockError`` when it is refused. After a lost connection they are sent again, all but ``interrupt``.
    The iteration ends when the session is closed. It raises ``PaddockError`` when the server refuses the connection,
    ``PaddockConnectionError`` when it was lost too often in a row, and what the permission callback raises.
    """

    def __init__(
        self, transport: Transport, session_id: str, params: Mapping[str, str], after: int, desk: PermissionDesk
    ) -> None:
        self._transport = transport
        self._params = params
        self._desk = desk
        self._path = f"/api/v1/sessions/{segment(session_id)}/ws"
        self._refs = itertools.count(1)
        self._commands: dict[str, _Command] = {}
        self._events: deque[Event] = deque()
        self._connection: ClientConnection | None = None
        self._last = after
        self._is_behind = False
        self._reopens = False
        self._is_over = False
        self._failure: PaddockException | None = None
        self._news = asyncio.Event()
        self._ready = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.connections = 0
        """How many connections it has taken so far."""
        desk.on_change = self._news.set

    async def __aenter__(self) -> SessionSocket:
        if self._runner is not None:
            raise RuntimeError("a socket is entered once")
        self._runner = asyncio.create_task(self._run())
        try:
            await self._ready.wait()
        except BaseException:
            await self.aclose()
            raise
        if self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection. Turns go on."""
        await self._desk.aclose()
        if self._runner is not None:
            if self._connection is not None:
                # In order, so that the server does not take it for a fault.
                await self._connection.close()
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def message(
        self,
        message: str,
        *,
        attachments: Sequence[Attachment] | None = None,
        timeout: int | None = None,
        on_busy: OnBusy | None = None,
        on_lost: OnLost | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Begins a turn and returns its id. Takes what ``Paddock.submit`` takes."""
        fields = prompt(message, attachments, timeout, on_busy, on_lost)
        fields["idempotency_key"] = idempotency_key or new_key()
        return str((await self._command("message", fields))["turn_id"])

    async def interrupt(self) -> str | None:
        """Interrupts the turn that runs, and returns its id; ``None`` when none does.

        Raises ``PaddockConnectionError`` when the connection is lost before the answer: sent again, it might hit the
        turn behind it.
        """
        turn_id = (await self._command("interrupt", {}, can_repeat=False)).get("turn_id")
        return None if turn_id is None else str(turn_id)

    async def permission(self, permission_id: str, answer: PermissionAnswer) -> None:
        """Answers what the agent asks; the first answer counts.

        Raises ``PaddockError``: ``permission_answered``, ``permission_not_found``, …. After a lost connection,
        ``permission_answered`` may mean that this very answer had been taken.
        """
        await self._command("permission", {**answer, "permission_id": permission_id})

    async def set_model(self, model: str | None) -> None:
        """Sets the session's model; ``None`` leaves it to the CLI."""
        await self._command("set_model", {"model": model})

    async def set_permission_mode(self, permission_mode: PermissionMode) -> None:
        """Sets what tools may do without asking."""
        await self._command("set_permission_mode", {"permission_mode": permission_mode})

    async def ping(self) -> None:
        """Waits until the server has answered."""
        await self._command("ping", {})

    async def __anext__(self) -> Event:
        while True:
            self._desk.check()
            if self._events:
                return self._events.popleft()
            if self._is_over:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._news.clear()
            if self._is_behind and self._connection is not None:
                # There is room again: what was left in the log is read with the next connection.
                self._reopens = True
                await self._connection.close()
            await self._news.wait()

    @property
    def last_event_id(self) -> int:
        """The id of the last event that came over the connection; those that wait for their reader count."""
        return self._last

    async def _command(self, kind: str, fields: Mapping[str, Any], *, can_repeat: bool = True) -> dict[str, Any]:
        if self._is_over or self._runner is None:
            raise self._failure or PaddockConnectionError("the socket is closed")
        ref = str(next(self._refs))
        text = json.dumps({"type": kind, "ref": ref, **fields}, allow_nan=False)
        command = self._commands[ref] = _Command(text, can_repeat)
        try:
            if self._connection is not None:
                await self._send(self._connection)
            reply = await command.answer
        finally:
            self._commands.pop(ref, None)
        if reply.get("type") == "refused":
            raise PaddockError.from_problem(reply.get("problem") or {})
        return reply

    async def _send(self, connection: ClientConnection) -> None:
        """Sends the commands that were not sent on this connection."""
        for command in list(self._commands.values()):
            if command.sent_on is connection or command.answer.done():
                continue
            command.sent_on = connection
            try:
                await connection.send(command.text)
            except ConnectionClosed:
                return  # The next connection sends it.

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except PaddockException as failure:
            self._failure = failure
        except Exception as failure:
            # Nobody waits for this task: whoever waits for an event or an answer is told.
            self._failure = PaddockStreamError(f"the socket failed: {failure!r}")
            self._failure.__cause__ = failure
        finally:
            self._is_over = True
            self._connection = None
            self._fail(self._failure or PaddockConnectionError("the socket is closed"))
            self._ready.set()
            self._news.set()

    async def _stay_connected(self) -> None:
        retries = self._transport.retries()
        while True:
            opened = time.monotonic()
            loss: BaseException
            try:
                async with self._connect() as connection:
                    self.connections += 1
                    loss = await self._serve(connection, retries)
            except InvalidStatus as refused:
                answer = refused.response
                if answer.status_code == 204:
                    return
                headers = {name.lower(): value for name, value in answer.headers.raw_items()}
                await retries.after_refusal(
                    PaddockError.from_answer(answer.status_code, headers, bytes(answer.body or b""))
                )
                continue
            except InvalidURI:
                raise
            except (OSError, EOFError, WebSocketException) as error:
                loss = error
            finally:
                self._connection = None
            self._give_up_after(loss)
            if self._reopens:
                # We closed it ourselves, and the server has nothing to recover from.
                self._reopens = False
                continue
            if time.monotonic() - opened > STEADY_SECONDS:
                retries.progressed()
            await retries.after_loss(loss)

    def _connect(self) -> connect:
        headers = self._transport.headers()
        del headers["User-Agent"]
        query = urlencode({**self._params, "after": self._last})
        return _Direct(
            f"ws{self._transport.base_url.removeprefix('http')}{self._path}?{query}",
            additional_headers=headers,
            user_agent_header=USER_AGENT,
            open_timeout=CONNECT_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_size=EVENT_MAX_BYTES,
            # Events are mostly a few bytes of text, on which compression costs more than it saves.
            compression=None,
        )

    async def _serve(self, connection: ClientConnection, retries: Retries) -> ConnectionClosed:
        """Takes what comes until the connection is closed."""
        self._connection = connection
        # Not before: what this reads is right behind the last event, what the old one had left is not.
        self._is_behind = False
        self._ready.set()
        await self._send(connection)
        while True:
            try:
                text = await connection.recv(decode=True)
            except ConnectionClosed as closed:
                return closed
            self._take(text)
            retries.progressed()

    def _take(self, text: str) -> None:
        """Takes an event or an answer: events have a numeric ``id``."""
        try:
            told = json.loads(text)
        except ValueError as error:
            raise PaddockStreamError(f"a message is not JSON: {error}") from None
        if not isinstance(told, dict):
            raise PaddockStreamError("a message is no object")
        if not isinstance(told.get("id"), int):
            command = self._commands.get(str(told.get("ref")))
            if command is not None and not command.answer.done():
                command.answer.set_result(told)
            return
        event = event_of(text)
        if event["id"] <= self._last or self._is_behind:
            return
        if len(self._events) >= EVENTS_HELD:
            self._is_behind = True
            return
        self._last = event["id"]
        self._events.append(event)
        self._desk.take(event)
        self._news.set()

    def _give_up_after(self, loss: BaseException) -> None:
        """Fails the commands that cannot be sent again, and the socket if what comes cannot be read."""
        if not isinstance(loss, ConnectionClosed):
            return
        if loss.sent is not None and loss.sent.code == TOO_LONG and not loss.rcvd_then_sent:
            raise PaddockStreamError(f"an event is longer than {EVENT_MAX_BYTES} bytes") from loss
        words = f"the connection was lost before an answer: {loss}"
        is_ours = loss.rcvd is not None and loss.rcvd.code in FAULTY_MESSAGE
        for command in self._commands.values():
            was_sent = command.sent_on is not None
            if was_sent and (is_ours or not command.can_repeat) and not command.answer.done():
                command.answer.set_exception(PaddockConnectionError(words))

    def _fail(self, failure: PaddockException) -> None:
        for command in self._commands.values():
            if not command.answer.done():
                command.answer.set_exception(failure)


class _Direct(connect):
    """A connection to this very address: a redirect is an answer like any other, as it is for requests."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
