"""The WebSocket: commands, events, cuts."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable

import pytest
from conftest import Server
from proxy import CuttingProxy
from reading import everything, log, said, until
from websockets.asyncio.server import ServerConnection, serve

from paddock import Paddock, PaddockConnectionError, PaddockError
from paddock import socket as socket_module

NewProxy = Callable[..., Awaitable[CuttingProxy]]
CUTS = 4
CUT_AFTER = 1700
WORDS = "% words 60 every 20ms"
SIXTY = " ".join(f"word{number}" for number in range(1, 61))


async def test_commands_are_answered_and_events_come(client: Paddock, session_id: str) -> None:
    async with client.socket(session_id) as socket:
        await socket.ping()
        turn_id = await socket.message("% say Hello.")
        events = await until(socket, "done")
        assert {event.get("turn_id") for event in events} == {turn_id}
        assert said(events) == "Hello."
        await socket.set_model("opus")
        await socket.set_permission_mode("plan")
        await socket.set_model(None)
        options = (await client.sessions.get(session_id))["options"]
        assert (options.get("model"), options.get("permission_mode")) == (None, "plan")
        hanging = await socket.message("% hang")
        events += await until(socket, "turn_started")
        assert await socket.interrupt() == hanging
        events += await until(socket, "error")
        # The turn's place is free a moment after its end was told.
        for _ in range(1000):
            if await socket.interrupt() is None:
                break
        else:
            pytest.fail("a turn that has ended is interrupted again and again")
        await client.sessions.delete(session_id)
        events += await everything(socket)
    assert events == await log(client, session_id)


async def test_a_refused_command_is_an_error(client: Paddock, session_id: str) -> None:
    async with client.socket(session_id) as socket:
        await socket.message("% hang")
        with pytest.raises(PaddockError) as busy:
            await socket.message("Hello")
        assert (busy.value.status, busy.value.code) == (409, "session_busy")
        with pytest.raises(PaddockError) as unknown:
            await socket.permission(f"prm_{uuid.uuid4().hex}", {"decision": "allow"})
        assert unknown.value.code == "permission_not_found"
        with pytest.raises(PaddockError) as wrong:
            await socket.set_permission_mode("anything")  # type: ignore[arg-type]
        assert wrong.value.code == "validation_failed" and wrong.value.errors


async def test_commands_at_once_get_each_their_own_answer(client: Paddock, session_id: str) -> None:
    async with client.socket(session_id) as socket:
        first = await socket.message("% hang")
        answers = await asyncio.gather(
            socket.ping(), socket.message("Hello"), socket.interrupt(), socket.ping(), return_exceptions=True
        )
    refused = answers[1]
    assert isinstance(refused, PaddockError) and refused.code == "session_busy"
    assert [answers[0], answers[2], answers[3]] == [None, first, None]


async def test_a_cut_socket_goes_on(server: Server, client: Paddock, session_id: str, new_proxy: NewProxy) -> None:
    proxy = await new_proxy(cuts=CUTS, after=CUT_AFTER)
    async with server.client(proxy.url) as through, through.socket(session_id) as socket:
        await socket.message(WORDS)
        events = await until(socket, "done")
        assert socket.connections == CUTS + 1
    places = [int(request.split("after=")[1].split()[0]) for request in proxy.requests]
    assert places[0] == 0 and places == sorted(set(places))
    assert said(events) == SIXTY
    assert events == await log(client, session_id)


async def test_a_message_whose_answer_is_lost_is_one_turn(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    async with server.client(proxy.url) as through, through.socket(session_id) as socket:
        proxy.cut_at_next_byte(2)
        turn_id = await socket.message("Hello")
        await until(socket, "done")
        assert proxy.connections == 3
    assert [turn["turn_id"] for turn in await everything(client.turns.list(session_id))] == [turn_id]


async def test_an_interrupt_whose_answer_is_lost_is_not_sent_again(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    async with server.client(proxy.url) as through, through.socket(session_id) as socket:
        proxy.cut_at_next_byte(1)
        with pytest.raises(PaddockConnectionError):
            await socket.interrupt()
        await socket.ping()


async def test_a_reader_that_is_slow_misses_nothing(
    client: Paddock, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "EVENTS_HELD", 20)
    async with client.socket(session_id) as socket:
        turn_id = await socket.message("% words 60")
        await everything(client.events(session_id, turn=turn_id))
        # Commands are answered also while nobody reads.
        await socket.ping()
        events = await until(socket, "done")
        assert socket.connections > 1
    whole = await log(client, session_id)
    assert [event for event in events if event["type"] != "gap"] == whole


async def test_a_log_that_comes_faster_than_it_is_read_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "EVENTS_HELD", 300)
    last = 2000

    async def send(connection: ServerConnection) -> None:
        assert connection.request is not None
        after = int(connection.request.path.split("after=")[1])
        for number in range(after + 1, last + 1):
            await connection.send(json.dumps({"id": number, "type": "text_delta", "text": "x" * 500}))
        await connection.wait_closed()

    async with serve(send, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Paddock(f"http://127.0.0.1:{port}") as client, client.socket("ses_1") as socket:
            ids: list[int] = []
            while not ids or ids[-1] < last:
                ids.append((await anext(socket))["id"])
            assert socket.connections > 1
    assert ids == list(range(1, last + 1))


async def test_a_message_that_is_too_long_is_not_sent_again_and_again(client: Paddock, session_id: str) -> None:
    async with client.socket(session_id) as socket:
        with pytest.raises((PaddockConnectionError, PaddockError)):
            await socket.message("x" * 40_000_000)
        await socket.ping()


async def test_what_cannot_be_opened_is_an_error(client: Paddock, session_id: str) -> None:
    with pytest.raises(PaddockError) as unknown:
        async with client.socket(f"ses_{uuid.uuid4().hex}"):
            pass
    assert (unknown.value.status, unknown.value.code) == (404, "session_not_found")
    await client.chat(session_id, "Hello")
    await client.sessions.delete(session_id)
    last = (await log(client, session_id))[-1]["id"]
    async with client.socket(session_id, after=last) as over:
        assert await everything(over) == []
        with pytest.raises(PaddockConnectionError, match="closed"):
            await over.ping()


async def test_a_socket_that_is_lost_too_often_gives_up(server: Server, session_id: str, new_proxy: NewProxy) -> None:
    proxy = await new_proxy(cuts=1000, after=0)
    async with server.client(proxy.url, max_retries=2) as through:
        with pytest.raises(PaddockConnectionError, match="tried 3 times"):
            async with through.socket(session_id):
                pass
    assert proxy.connections == 3
