"""Streams, over connections that are cut, and requests whose answers are lost."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest
from conftest import Server
from proxy import CuttingProxy
from reading import everything, log, of_turn, said, until

from paddock import Paddock, PaddockConnectionError, PaddockError

NewProxy = Callable[..., Awaitable[CuttingProxy]]
CUTS = 4
CUT_AFTER = 1700
WORDS = "% words 60 every 20ms"
SIXTY = " ".join(f"word{number}" for number in range(1, 61))


async def test_a_stream_is_the_turn_from_its_beginning_to_its_end(client: Paddock, session_id: str) -> None:
    async with client.stream(session_id, "% think Hm.\n% bash echo hi\n% say Done.") as stream:
        events = await everything(stream)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "session" and kinds[-1] == "done"
    assert {"turn_started", "thinking_delta", "tool_use", "tool_result", "text_delta", "usage"} <= set(kinds)
    assert events == of_turn(await log(client, session_id))
    assert stream.connections == 1 and stream.turn_id == events[0]["turn_id"]
    done = events[-1]
    assert done["type"] == "done" and done["text"] == said(events)


async def test_a_cut_stream_goes_on_and_runs_its_turn_once(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(cuts=CUTS, after=CUT_AFTER)
    async with server.client(proxy.url) as through:
        stream = through.stream(session_id, WORDS)
        events = await everything(stream)
    assert stream.connections == CUTS + 1
    assert said(events) == SIXTY
    assert events == of_turn(await log(client, session_id))
    assert len(await everything(client.turns.list(session_id))) == 1


async def test_a_stream_whose_beginning_is_lost_runs_its_turn_once(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(cuts=2, after=0)
    async with server.client(proxy.url) as through:
        events = await everything(through.stream(session_id, "Hello"))
    assert proxy.connections >= 3
    assert events == of_turn(await log(client, session_id))
    assert len(await everything(client.turns.list(session_id))) == 1


async def test_a_log_that_is_followed_over_cuts_is_the_log(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(cuts=CUTS, after=CUT_AFTER)
    async with server.client(proxy.url) as through:
        stream = through.events(session_id)
        turn = await client.submit(session_id, WORDS)
        events = await until(stream, "done")
        assert events == await log(client, session_id)
        assert events[0]["type"] == "message" and events[0]["turn_id"] == turn["turn_id"]
        assert stream.connections == CUTS + 1
        # It follows what comes, and ends with the session.
        await client.submit(session_id, "Hello")
        events += await until(stream, "done")
        await client.sessions.delete(session_id)
        events += await everything(stream)
    assert events == await log(client, session_id)


async def test_a_log_is_read_as_it_is_asked_for(client: Paddock, session_id: str) -> None:
    for message in ("Hello", "% say Again."):
        await client.chat(session_id, message)
    whole = await log(client, session_id)
    first, second = (event for event in whole if event["type"] == "done")
    ends = await everything(client.events(session_id, follow=False, types=["message", "done"]))
    assert [event["type"] for event in ends] == ["message", "done"] * 2
    rest = await everything(client.events(session_id, follow=False, after=first["id"]))
    assert rest == whole[whole.index(first) + 1 :]
    one = await everything(client.events(session_id, turn=second["turn_id"]))
    assert one == [event for event in whole if event.get("turn_id") == second["turn_id"]]
    # The turn is over, so nothing comes after its end, and the stream is not waited for.
    assert await everything(client.events(session_id, turn=second["turn_id"], after=second["id"])) == []
    plain = await everything(client.events(session_id, follow=False, deltas=False))
    assert plain == [event for event in whole if not event["type"].endswith("_delta")]


async def test_a_stream_is_gone_on_with_by_another_program(server: Server, client: Paddock, session_id: str) -> None:
    key = uuid.uuid4().hex
    async with server.client() as earlier:
        async with earlier.stream(session_id, WORDS, idempotency_key=key) as stream:
            events = await until(stream, "text_delta")
    events += await everything(
        client.stream(session_id, WORDS, idempotency_key=key, after=stream.last_event_id)
    )
    assert events == of_turn(await log(client, session_id))
    assert said(events) == SIXTY
    with pytest.raises(ValueError, match="idempotency_key"):
        client.stream(session_id, WORDS, after=stream.last_event_id)


async def test_the_end_is_told_of_a_turn_whose_session_was_closed_meanwhile(
    server: Server, client: Paddock, session_id: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    async with server.client(proxy.url) as through:
        stream = through.stream(session_id, "% words 3\n% hang")
        events = await until(stream, "text_delta")
        await proxy.cut()
        await client.sessions.delete(session_id)
        events += await everything(stream)
    last = events[-1]
    assert last["type"] == "error" and last["code"] == "session_closed"
    assert events == of_turn(await log(client, session_id))


async def test_what_is_wrong_before_the_turn_begins_is_an_error(client: Paddock, session_id: str) -> None:
    with pytest.raises(PaddockError) as blank:
        await anext(client.stream(session_id, " "))
    assert blank.value.code == "validation_failed"
    with pytest.raises(PaddockError) as foreign:
        await anext(client.events(session_id, after=7))
    assert foreign.value.code == "invalid_cursor"


async def test_a_stream_that_is_lost_too_often_gives_up(server: Server, session_id: str, new_proxy: NewProxy) -> None:
    proxy = await new_proxy(cuts=1000, after=0)
    async with server.client(proxy.url, max_retries=2) as through:
        with pytest.raises(PaddockConnectionError, match="tried 3 times"):
            await anext(through.events(session_id))
    assert proxy.connections == 3


async def test_answers_that_are_lost_are_fetched_again_and_nothing_is_done_twice(
    server: Server, client: Paddock, user: str, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(cuts=2, after=20)
    async with server.client(proxy.url) as through:
        made = await through.sessions.create(user)
        session_id = made["session_id"]
        listed = await everything(client.sessions.list(user_id=user))
        assert [session["session_id"] for session in listed] == [session_id]
        proxy.cuts_left = 2
        answer = await through.chat(session_id, "Hello")
        proxy.cuts_left = 2
        turn = await through.submit(session_id, "% say Once.")
        done = (await until(client.events(session_id, turn=turn["turn_id"]), "done"))[-1]
    assert done["type"] == "done" and done["text"] == "Once."
    turns = [turn["turn_id"] for turn in await everything(client.turns.list(session_id))]
    assert turns == [turn["turn_id"], answer["turn_id"]]
    await client.sessions.delete(session_id)
