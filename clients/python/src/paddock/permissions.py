"""Answers to what agents ask: given by a callback, beside the events."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import PaddockError
from .events import Event, PermissionRequestEvent
from .types import PermissionAnswer

if TYPE_CHECKING:
    from .resources import Permissions

__all__ = ["OnPermission", "PermissionDesk", "allow", "deny"]

OnPermission = Callable[[PermissionRequestEvent], "PermissionAnswer | None | Awaitable[PermissionAnswer | None]"]
"""Asked for each ``permission_request``; may be a coroutine function. ``None`` leaves the question to somebody else."""


def allow(
    *,
    remember: bool = False,
    updated_input: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
) -> PermissionAnswer:
    """The answer that allows it.

    ``remember``: the same needs no permission in this session from then on. ``updated_input``: what the tool is called
    with instead, as a whole. ``answers``: the answers to a ``question``, by the question's text.
    """
    answer: PermissionAnswer = {"decision": "allow"}
    if remember:
        answer["remember"] = True
    if updated_input is not None:
        answer["updated_input"] = updated_input
    if answers is not None:
        answer["answers"] = answers
    return answer


def deny(message: str | None = None) -> PermissionAnswer:
    """The answer that denies it; ``message`` tells the agent why."""
    answer: PermissionAnswer = {"decision": "deny"}
    if message is not None:
        answer["message"] = message
    return answer


class PermissionDesk:
    """Asks a callback what an agent asks, and posts the answers, while events go on coming."""

    def __init__(self, permissions: Permissions, session_id: str, callback: OnPermission | None) -> None:
        self._permissions = permissions
        self._session_id = session_id
        self._callback = callback
        self._failure: BaseException | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        """What is under way."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when something has come to its end."""

    def take(self, event: Event) -> None:
        """Begins to answer an event that is a question. Does nothing for others, or without a callback."""
        if self._callback is None or event["type"] != "permission_request":
            return
        task = asyncio.create_task(self._answer(self._callback, event))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raises what a callback raised, or what its answer was refused with. The question still waits then."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    async def aclose(self) -> None:
        """Ends what is under way."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
        self.on_change()

    async def _answer(self, callback: OnPermission, event: PermissionRequestEvent) -> None:
        permission_id = event["permission_id"]
        try:
            # Whoever reads a log from its beginning meets questions that were answered long ago.
            question = await self._permissions.get(self._session_id, permission_id)
            if question["resolution"] is not None:
                return
            answer = callback(event)
            if inspect.isawaitable(answer):
                answer = await answer
            if answer is not None:
                await self._permissions.answer(self._session_id, permission_id, answer)
        except PaddockError as error:
            # Somebody else was faster, or the turn is over.
            if error.code not in ("permission_answered", "permission_not_found"):
                raise
