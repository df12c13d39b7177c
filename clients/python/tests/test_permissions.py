"""What agents ask, answered by a callback."""

from __future__ import annotations

import asyncio

import pytest
from conftest import NewSession
from reading import everything, until

from paddock import Event, Paddock, PermissionAnswer, SessionOptions, allow, deny
from paddock.events import PermissionRequestEvent

ASKS: SessionOptions = {"permission_mode": "default", "allowed_tools": []}
PROMPT = "% bash touch made\n% results\n% say Done."


def decisions(events: list[Event]) -> list[str]:
    """How questions were answered."""
    return [event["decision"] for event in events if event["type"] == "permission_resolved"]


async def test_a_callback_allows_a_tool(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]
    asked: list[PermissionRequestEvent] = []

    async def answer(request: PermissionRequestEvent) -> PermissionAnswer:
        asked.append(request)
        waiting = await everything(client.permissions.list(session_id))
        assert [question["permission_id"] for question in waiting] == [request["permission_id"]]
        return allow()

    events = await everything(client.stream(session_id, PROMPT, on_permission=answer))
    (request,) = asked
    assert (request["kind"], request["tool_name"], request["tool_input"]["command"]) == ("tool", "Bash", "touch made")
    assert decisions(events) == ["allow"] and events[-1]["type"] == "done"
    (result,) = (event for event in events if event["type"] == "tool_result")
    assert not result["is_error"]
    question = await client.permissions.get(session_id, request["permission_id"])
    assert question["resolution"] is not None and question["resolution"]["decision"] == "allow"
    assert await everything(client.permissions.list(session_id)) == []


async def test_a_plain_callback_denies_over_a_socket(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]
    async with client.socket(session_id, on_permission=lambda request: deny("Not today.")) as socket:
        await socket.message(PROMPT)
        events = await until(socket, "done")
    assert decisions(events) == ["deny"]
    (result,) = (event for event in events if event["type"] == "tool_result")
    assert result["is_error"] and "Not today." in str(result["content"])


async def test_a_command_answers_and_is_remembered(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]
    async with client.socket(session_id) as socket:
        await socket.message(PROMPT)
        request = (await until(socket, "permission_request"))[-1]
        assert request["type"] == "permission_request"
        await socket.permission(request["permission_id"], allow(remember=True))
        assert decisions(await until(socket, "done")) == ["allow"]
        await socket.message(PROMPT)
        again = await until(socket, "done")
    assert [event for event in again if event["type"] == "permission_request"] == []


async def test_events_come_while_a_callback_waits_and_another_answers(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]
    seen, called = asyncio.Event(), asyncio.Event()

    async def answer(request: PermissionRequestEvent) -> PermissionAnswer:
        called.set()
        await seen.wait()
        return deny()

    stream = client.stream(session_id, PROMPT, on_permission=answer)
    events = await until(stream, "permission_request")
    reading = asyncio.create_task(everything(stream))
    await called.wait()
    request = events[-1]
    assert request["type"] == "permission_request"
    await client.permissions.answer(session_id, request["permission_id"], allow())
    seen.set()
    assert decisions(await reading) == ["allow"]


async def test_a_callback_that_fails_ends_the_stream(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]

    def answer(request: PermissionRequestEvent) -> PermissionAnswer:
        raise LookupError(request["tool_name"])

    with pytest.raises(LookupError, match="Bash"):
        await everything(client.stream(session_id, PROMPT, on_permission=answer))
    (turn,) = await everything(client.turns.list(session_id))
    assert turn["status"] == "awaiting_permission"
    # Another program takes the question over, from the log.
    asked: list[str] = []

    def allowed(request: PermissionRequestEvent) -> PermissionAnswer:
        asked.append(request["permission_id"])
        return allow()

    events = await everything(client.events(session_id, turn=turn["turn_id"], on_permission=allowed))
    assert decisions(events) == ["allow"]
    # What was answered before is not asked again by who reads the log from its beginning.
    second = await client.submit(session_id, PROMPT)
    async with client.events(session_id, on_permission=allowed) as log:
        both = await until(log, "done") + await until(log, "done")
    assert decisions(both) == ["allow", "allow"]
    requests = [event for event in both if event["type"] == "permission_request"]
    assert asked == [event["permission_id"] for event in requests]
    assert requests[1]["turn_id"] == second["turn_id"]


async def test_a_callback_leaves_a_question_to_others(client: Paddock, new_session: NewSession) -> None:
    session_id = (await new_session(ASKS))["session_id"]
    left = asyncio.Event()

    def answer(request: PermissionRequestEvent) -> None:
        left.set()

    stream = client.stream(session_id, PROMPT, on_permission=answer)
    await until(stream, "permission_request")
    reading = asyncio.create_task(everything(stream))
    await left.wait()
    (question,) = await everything(client.permissions.list(session_id))
    await client.permissions.answer(session_id, question["permission_id"], deny())
    assert decisions(await reading) == ["deny"]
