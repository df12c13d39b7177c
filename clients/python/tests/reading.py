"""How tests read events."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TypeVar

from paddock import Event, Paddock
from paddock.streaming import TURN_TYPES

E = TypeVar("E")


async def everything(entries: AsyncIterable[E]) -> list[E]:
    """All that comes."""
    return [entry async for entry in entries]


async def until(events: AsyncIterable[Event], kind: str) -> list[Event]:
    """What comes, up to the first event of this type."""
    told: list[Event] = []
    async for event in events:
        told.append(event)
        if event["type"] == kind:
            return told
    raise AssertionError(f"no {kind} among {[event['type'] for event in told]}")


async def log(client: Paddock, session_id: str) -> list[Event]:
    """A session's log, as it is."""
    return await everything(client.events(session_id, follow=False))


def of_turn(events: list[Event]) -> list[Event]:
    """Those events that the stream of a turn has too."""
    return [event for event in events if event["type"] in TURN_TYPES.split(",")]


def said(events: list[Event]) -> str:
    """The pieces of text, joined."""
    return "".join(event["text"] for event in events if event["type"] == "text_delta")
