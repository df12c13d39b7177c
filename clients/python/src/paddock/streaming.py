"""Streams of events that go on by themselves after their connection was cut."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, cast

import httpx

from .errors import PaddockError, PaddockStreamError
from .events import Event
from .permissions import PermissionDesk
from .retry import Retries
from .sse import ServerSentEvent, SseReader
from .transport import Params, Transport, segment

__all__ = ["EventStream", "StreamRequest", "ends_turn", "event_of"]

STEADY_SECONDS = 10.0
"""A connection that held for so long was a good one, also if no event came over it."""
TURN_TYPES = (
    "turn_queued,session,turn_started,turn_resumed,text_delta,thinking_delta,text_retracted,tool_use,tool_result,"
    "permission_request,permission_resolved,task_started,task_ended,conversation_reset,budget_warning,usage,gap,"
    "done,error"
)
"""The types that the stream of a turn has; a session's log has more."""


def event_of(text: str) -> Event:
    """The event that a text is; ``PaddockStreamError`` if it is none."""
    try:
        event = json.loads(text)
    except ValueError as error:
        raise PaddockStreamError(f"an event is not JSON: {error}") from None
    if not isinstance(event, dict) or not isinstance(event.get("id"), int) or not isinstance(event.get("type"), str):
        raise PaddockStreamError("an event has no id, or no type")
    return cast(Event, event)


def ends_turn(event: Event) -> bool:
    """Whether an event is the last of its turn."""
    return event["type"] in ("done", "error")


@dataclass(frozen=True)
class StreamRequest:
    """What a stream is asked for with, each time that it is."""

    session_id: str
    method: str
    path: str
    params: Params
    body: bytes | None = None
    key: str | None = None
    after: int | None = None
    """Where it begins."""
    one_turn: bool = False
    """Whether it ends with the turn's last event."""
    follows: bool = True
    """Whether it waits for what comes; if not, it ends where the log ends."""

    def from_log(self, turn_id: str) -> StreamRequest:
        """The same events, read from the log: a session that is closed takes no prompt, also not one it had."""
        return replace(
            self,
            method="GET",
            path=f"/api/v1/sessions/{segment(self.session_id)}/events",
            params={"turn": turn_id, "types": TURN_TYPES},
            body=None,
            key=None,
        )


class EventStream(AsyncIterator[Event]):
    """Events as they come, each once and in order, over as many connections as it takes.

    Iterate over it, once; nothing is sent before. ``async with`` closes it also when the loop is left early; the turn
    itself goes on then.

    Raises ``PaddockError`` when the server refuses, ``PaddockConnectionError`` when it was lost too often in a row,
    ``PaddockStreamError`` when what comes is no stream of events, and what the permission callback raises.
    """

    def __init__(self, transport: Transport, request: StreamRequest, desk: PermissionDesk) -> None:
        self._transport = transport
        self._request = request
        self._desk = desk
        self._events = self._read()
        self._next: asyncio.Task[Event] | None = None
        self.last_event_id: int | None = request.after
        """The id of the last event that came: where another stream can go on."""
        self.turn_id: str | None = None
        """The turn of the last event that came, if it was a turn's."""
        self.connections = 0
        """How many connections it has taken so far."""

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> Event:
        try:
            return await self._take_next()
        except BaseException:
            # The end, an error, or a caller that gave up: nobody else would close the connection.
            await self.aclose()
            raise

    async def _take_next(self) -> Event:
        # In a task of its own: the callback's failure is told at once, also when no event comes.
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events))
        while True:
            await asyncio.wait({self._next, *self._desk.tasks}, return_when=asyncio.FIRST_COMPLETED)
            if self._next.done():
                ready, self._next = self._next, None
                return ready.result()
            self._desk.check()

    async def aclose(self) -> None:
        """Closes the connection. What was asked for goes on."""
        await self._desk.aclose()
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None
        await self._events.aclose()

    async def _read(self) -> AsyncGenerator[Event, None]:
        retries = self._transport.retries()
        while True:
            opened = time.monotonic()
            refusal: PaddockError | None = None
            loss: BaseException | str = "the stream ended"
            try:
                asked = self._request
                async with self._transport.open(
                    asked.method,
                    asked.path,
                    params=asked.params,
                    body=asked.body,
                    key=asked.key,
                    after=self.last_event_id,
                ) as response:
                    if response.status_code == 204:
                        return
                    self.connections += 1
                    async for event in self._events_of(response, retries):
                        yield event
                        if self._request.one_turn and ends_turn(event):
                            return
                if not self._request.follows:
                    return
            except PaddockError as error:
                refusal = error
            except (httpx.UnsupportedProtocol, httpx.LocalProtocolError):
                raise
            except httpx.TransportError as error:
                loss = error
            if refusal is None:
                if time.monotonic() - opened > STEADY_SECONDS:
                    retries.progressed()
                await retries.after_loss(loss)
            elif refusal.status == 410 and self.turn_id is not None and self._request.body is not None:
                self._request = self._request.from_log(self.turn_id)
            else:
                await retries.after_refusal(refusal)

    async def _events_of(self, response: httpx.Response, retries: Retries) -> AsyncIterator[Event]:
        reader = SseReader()
        async for chunk in response.aiter_bytes():
            for frame in reader.feed(chunk):
                if (event := self._fresh(frame)) is not None:
                    retries.progressed()
                    self._desk.take(event)
                    yield event
            if reader.retry_ms is not None:
                retries.first_wait = reader.retry_ms / 1000

    def _fresh(self, frame: ServerSentEvent) -> Event | None:
        """The event of a frame, unless it came before."""
        event = event_of(frame.data)
        last = self.last_event_id
        if last is not None and event["id"] <= last:
            # The end of a turn that the server could not write down has the id of the event before.
            is_late_end = self._request.one_turn and event["id"] == last and ends_turn(event)
            if not is_late_end:
                return None
        self.last_event_id = event["id"]
        self.turn_id = event.get("turn_id", self.turn_id)
        return event


def prompt(
    message: str, attachments: Any = None, timeout: int | None = None, on_busy: Any = None, on_lost: Any = None
) -> dict[str, Any]:
    """A prompt's body, without what is left to the server."""
    body = {
        "message": message,
        "attachments": attachments,
        "timeout": timeout,
        "on_busy": on_busy,
        "on_lost": on_lost,
    }
    return {name: value for name, value in body.items() if value is not None}
