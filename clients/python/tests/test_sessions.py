"""Sessions, turns, and what else is asked with one request."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from conftest import NewSession, Server
from reading import everything

from paddock import Paddock, PaddockError


async def test_a_session_is_made_read_listed_changed_and_closed(client: Paddock, user: str) -> None:
    made = await client.sessions.create(
        user,
        subdir="project",
        title="Tidy up",
        metadata={"ticket": "A-1"},
        options={"append_system_prompt": "Be brief."},
    )
    session_id = made["session_id"]
    assert (made["user_id"], made["subdir"], made["status"]) == (user, "project", "active")
    assert made["options"]["append_system_prompt"] == "Be brief."
    assert (await client.sessions.get(session_id))["metadata"] == {"ticket": "A-1"}

    changed = await client.sessions.update(session_id, title=None, permission_mode="plan")
    assert (changed["title"], changed["metadata"]) == (None, {"ticket": "A-1"})
    assert changed["options"]["permission_mode"] == "plan"
    assert (await client.sessions.resume(session_id))["session_id"] == session_id

    await client.sessions.delete(session_id)
    await client.sessions.delete(session_id)
    assert (await client.sessions.get(session_id))["status"] == "closed"
    with pytest.raises(PaddockError) as refused:
        await client.chat(session_id, "Hello")
    assert (refused.value.status, refused.value.code) == (410, "session_closed")


async def test_a_list_goes_over_its_pages(client: Paddock, user: str, new_session: NewSession) -> None:
    made = [(await new_session())["session_id"] for _ in range(5)]
    listed = await everything(client.sessions.list(user_id=user, page_size=2))
    assert [session["session_id"] for session in listed] == made[::-1]
    await client.sessions.update(made[1], title="Needle in hay", metadata={"kind": "hay"})
    for found in (
        client.sessions.list(user_id=user, q="needle"),
        client.sessions.list(user_id=user, metadata={"kind": "hay"}, status="all"),
    ):
        assert [session["session_id"] for session in await everything(found)] == [made[1]]


async def test_a_chat_is_answered_and_kept(client: Paddock, session_id: str, user: str) -> None:
    answer = await client.chat(session_id, "I look.\n% bash echo found\n% say Done.")
    assert answer["session_id"] == session_id and answer["text"].endswith("Done.")
    (call,) = answer["tool_calls"]
    assert (call["tool"], call["input"]["command"], call["is_error"]) == ("Bash", "echo found", False)
    assert answer["usage"]["output_tokens"] > 0 and answer["stop_reason"] == "end_turn"

    turn = await client.turns.get(session_id, answer["turn_id"])
    assert (turn["status"], turn["text"], turn["error"]) == ("completed", answer["text"], None)
    assert [turn["turn_id"] for turn in await everything(client.turns.list(session_id))] == [answer["turn_id"]]
    roles = [message["role"] for message in await everything(client.messages(session_id, page_size=1))]
    assert roles[0] == "user" and {"assistant", "tool"} <= set(roles)

    since = datetime.now(timezone.utc) - timedelta(hours=1)
    (used,) = await client.usage(group_by=["user"], user_id=user, since=since)
    assert (used["user_id"], used["requests"] > 0) == (user, True)
    assert await client.usage(group_by=["user"], user_id=user, before=since) == []


async def test_a_fork_has_the_conversation(client: Paddock, session_id: str) -> None:
    await client.chat(session_id, "Remember the number 42.")
    fork = await client.sessions.fork(session_id, title="Other")
    try:
        assert (fork["session_id"] != session_id, fork["title"]) == (True, "Other")
        answer = await client.chat(fork["session_id"], "Which number did I ask you to remember?")
        assert "42" in answer["text"]
    finally:
        await client.sessions.delete(fork["session_id"])


async def test_a_turn_is_submitted_and_interrupted(client: Paddock, session_id: str) -> None:
    assert await client.interrupt(session_id) == {"session_id": session_id, "interrupted": False, "turn_id": None}
    first = await client.submit(session_id, "% hang")
    with pytest.raises(PaddockError) as busy:
        await client.submit(session_id, "Hello")
    assert (busy.value.code, busy.value.status) == ("session_busy", 409)
    assert (busy.value.retry_after or 0) > 0
    second = await client.submit(session_id, "Hello", on_busy="queue")
    assert second["status"] == "queued"
    await client.turns.cancel(session_id, second["turn_id"])
    assert (await client.interrupt(session_id))["turn_id"] == first["turn_id"]
    for turn in (first, second):
        events = await everything(client.events(session_id, turn=turn["turn_id"]))
        last = events[-1]
        assert last["type"] == "error" and last["code"] == "turn_interrupted"


async def test_a_turn_that_fails_is_an_error_with_its_turn(client: Paddock, session_id: str) -> None:
    with pytest.raises(PaddockError) as failed:
        await client.chat(session_id, "% hang", timeout=1)
    assert failed.value.code == "turn_timeout"
    assert failed.value.turn_id is not None
    assert (await client.turns.get(session_id, failed.value.turn_id))["status"] == "timed_out"


async def test_problems_are_told(client: Paddock) -> None:
    with pytest.raises(PaddockError) as wrong:
        await client.sessions.create("not a user", options={"max_turns": 0})
    assert (wrong.value.status, wrong.value.code) == (422, "validation_failed")
    assert {error["field"] for error in wrong.value.errors} == {"user_id", "options.max_turns"}
    assert wrong.value.request_id
    with pytest.raises(PaddockError) as unknown:
        await client.sessions.get(f"ses_{uuid.uuid4().hex}")
    assert (unknown.value.status, unknown.value.code) == (404, "session_not_found")


async def test_a_key_that_is_used_for_another_request_is_refused(client: Paddock, user: str) -> None:
    key = uuid.uuid4().hex
    made = await client.sessions.create(user, idempotency_key=key)
    assert (await client.sessions.create(user, idempotency_key=key))["session_id"] == made["session_id"]
    with pytest.raises(PaddockError) as reused:
        await client.sessions.create(user, title="Another", idempotency_key=key)
    assert reused.value.code == "key_reused"
    await client.sessions.delete(made["session_id"])


async def test_the_server_tells_of_itself(client: Paddock) -> None:
    health = await client.health()
    assert (health["status"], health["ready"]) == ("healthy", True)
    assert (await client.me())["role"] in ("member", "owner", "admin")
    assert all(model["id"] for model in await client.models())


async def test_a_client_of_ones_own_is_used_and_stays_open(server: Server) -> None:
    async with httpx.AsyncClient() as http:
        async with server.client(http=http) as client:
            await client.health()
        assert not http.is_closed
