"""What the client does with sessions, turns and permissions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any, Final, Literal, cast

from .transport import Transport, new_key, segment
from .types import Permission, PermissionAnswer, PermissionMode, Session, SessionOptions, Source, Turn

__all__ = ["UNCHANGED", "Permissions", "Sessions", "Turns", "Unchanged", "given"]


class Unchanged(Enum):
    """What a field is set to that stays as it is; ``None`` is a value of its own there."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
"""A field that stays as it is."""


def given(**fields: Any) -> dict[str, Any]:
    """Those fields that are not ``None``."""
    return {name: value for name, value in fields.items() if value is not None}


class Sessions:
    """Conversations, each bound to a folder. ``paddock.sessions``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        user_id: str,
        *,
        subdir: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        options: SessionOptions | None = None,
        source: Source | None = None,
        template: str | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Makes a session. It calls no model; its agent is started in the background.

        ``user_id`` is 1 to 64 of ``A-Z a-z 0-9 _ -``; ``subdir`` a relative path in the user's tree. With ``source`` the
        workspace begins with a clone, with ``template`` with a copy of a template of the server.

        Raises ``PaddockError``: ``validation_failed``, ``option_forbidden``, ``quota_reached``, ….
        """
        body = given(
            user_id=user_id,
            subdir=subdir,
            title=title,
            metadata=metadata,
            options=options,
            source=source,
            template=template,
        )
        key = idempotency_key or new_key()
        return cast(Session, await self._transport.json("POST", "/api/v1/sessions", body=body, key=key))

    async def get(self, session_id: str) -> Session:
        """A session, also a closed one. Raises ``PaddockError`` ``session_not_found``."""
        return cast(Session, await self._transport.json("GET", _session(session_id)))

    def list(
        self,
        *,
        user_id: str | None = None,
        status: Literal["active", "closed", "expired", "all"] | None = None,
        q: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Session]:
        """The tenant's sessions, newest first; active ones unless ``status`` says otherwise. Pages come as needed.

        ``q``: the beginnings of words of the title. ``metadata``: values by key at the top, all of which must fit.
        """
        params = given(user_id=user_id, status=status, q=q, limit=page_size)
        params.update((f"metadata.{key}", value) for key, value in (metadata or {}).items())
        return self._transport.pages("/api/v1/sessions", params)

    async def update(
        self,
        session_id: str,
        *,
        title: str | None | Unchanged = UNCHANGED,
        metadata: Mapping[str, Any] | Unchanged = UNCHANGED,
        model: str | None | Unchanged = UNCHANGED,
        permission_mode: PermissionMode | Unchanged = UNCHANGED,
    ) -> Session:
        """Changes a session. What is not named stays as it is.

        ``title=None`` removes it, ``model=None`` leaves it to the CLI, ``metadata`` is set as a whole. A live agent is
        brought to a new model or mode at once where the CLI takes that.
        """
        fields = {"title": title, "metadata": metadata, "model": model, "permission_mode": permission_mode}
        body = {name: value for name, value in fields.items() if value is not UNCHANGED}
        return cast(Session, await self._transport.json("PATCH", _session(session_id), body=body))

    async def delete(self, session_id: str) -> None:
        """Closes a session: ends its turn and its agent. It cannot come back; its folder and its record stay."""
        await self._transport.request("DELETE", _session(session_id))

    async def resume(self, session_id: str, *, idempotency_key: str | None = None) -> Session:
        """Starts a session's agent ahead of the next prompt, and makes its folder again if it is gone."""
        key = idempotency_key or new_key()
        return cast(Session, await self._transport.json("POST", _session(session_id) + "/resume", key=key))

    async def fork(
        self,
        session_id: str,
        *,
        message_id: int | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        subdir: str | None = None,
        copy_workspace: bool | None = None,
        turn_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Makes a session that goes on from where this one is, was at the message ``message_id``, or before ``turn_id``.

        What is not named is as this one has it. ``copy_workspace`` copies the folder to ``subdir``.
        """
        body = given(
            message_id=message_id,
            title=title,
            metadata=metadata,
            subdir=subdir,
            copy_workspace=copy_workspace,
            turn_id=turn_id,
        )
        key = idempotency_key or new_key()
        return cast(Session, await self._transport.json("POST", _session(session_id) + "/fork", body=body, key=key))


class Turns:
    """Prompts and what came of them. ``paddock.turns``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, session_id: str, turn_id: str) -> Turn:
        """A turn. Raises ``PaddockError`` ``turn_not_found``."""
        return cast(Turn, await self._transport.json("GET", f"{_session(session_id)}/turns/{segment(turn_id)}"))

    def list(self, session_id: str, *, page_size: int | None = None) -> AsyncIterator[Turn]:
        """A session's turns, newest first. Pages come as needed."""
        return self._transport.pages(_session(session_id) + "/turns", given(limit=page_size))

    async def cancel(self, session_id: str, turn_id: str, *, idempotency_key: str | None = None) -> Turn:
        """Interrupts a turn that runs, takes one that waits out of the line. One that has ended stays as it is.

        The answer tells how it stands now: the end of one that runs takes a little longer.
        """
        path = f"{_session(session_id)}/turns/{segment(turn_id)}/cancel"
        return cast(Turn, await self._transport.json("POST", path, key=idempotency_key or new_key()))


class Permissions:
    """What agents ask. ``paddock.permissions``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, session_id: str | None = None, *, page_size: int | None = None) -> AsyncIterator[Permission]:
        """The questions that wait, oldest first: of one session, or of all. Pages come as needed."""
        path = "/api/v1" if session_id is None else _session(session_id)
        return self._transport.pages(path + "/permissions", given(limit=page_size))

    async def get(self, session_id: str, permission_id: str) -> Permission:
        """A question, answered or not. Raises ``PaddockError`` ``permission_not_found``."""
        path = f"{_session(session_id)}/permissions/{segment(permission_id)}"
        return cast(Permission, await self._transport.json("GET", path))

    async def answer(
        self, session_id: str, permission_id: str, answer: PermissionAnswer, *, idempotency_key: str | None = None
    ) -> Permission:
        """Answers a question; the turn goes on at once. The first answer counts.

        Raises ``PaddockError``: ``permission_answered`` for a later one, ``validation_failed``, ….
        """
        path = f"{_session(session_id)}/permissions/{segment(permission_id)}"
        key = idempotency_key or new_key()
        return cast(Permission, await self._transport.json("POST", path, body=answer, key=key))


def _session(session_id: str) -> str:
    return f"/api/v1/sessions/{segment(session_id)}"
