"""Streams against answers that are made up: what a real server hardly ever sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from reading import everything

from paddock import Paddock, PaddockError, PaddockStreamError


def event(number: int, kind: str, **fields: object) -> dict[str, object]:
    return {"id": number, "type": kind, "turn_id": "trn_1", "created_at": "2026-01-01T00:00:00Z", **fields}


def frames(*events: dict[str, object]) -> bytes:
    return b"".join(f"id: {told['id']}\ndata: {json.dumps(told)}\n\n".encode() for told in events)


class Cut(httpx.AsyncByteStream):
    """A body that is cut after these bytes."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._sent
        raise httpx.ReadError("cut")


def stream(sent: bytes, *, cut: bool = False, kind: str = "text/event-stream") -> httpx.Response:
    headers = {"content-type": kind}
    if cut:
        return httpx.Response(200, headers=headers, stream=Cut(sent))
    return httpx.Response(200, headers=headers, content=sent)


Scripted = Callable[..., tuple[Paddock, list[httpx.Request]]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A client whose requests are answered in this order, and which waits for nothing."""

    async def sleep(wait: float) -> None:
        assert 0.0 <= wait <= 10.0

    def make(*answers: httpx.Response) -> tuple[Paddock, list[httpx.Request]]:
        requests: list[httpx.Request] = []
        left = list(answers)

        def answer(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return left.pop(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return Paddock("http://paddock.test", http=http, max_retries=2), requests

    return make


async def test_a_cut_stream_is_asked_for_again_with_its_key_and_its_last_id(scripted: Scripted) -> None:
    first, second, last = event(5, "session"), event(6, "text_delta", text="Hi"), event(7, "done")
    whole = frames(first, second, last)
    client, requests = scripted(
        stream(b"retry: 2000\n\n" + whole[:150], cut=True), stream(frames(first, second), cut=True), stream(whole)
    )
    assert await everything(client.stream("ses_1", "Hello")) == [first, second, last]
    assert [request.headers.get("last-event-id") for request in requests] == [None, "5", "6"]
    assert len({(request.headers["idempotency-key"], request.content) for request in requests}) == 1


async def test_the_end_of_a_turn_may_have_the_id_of_the_event_before(scripted: Scripted) -> None:
    begun = event(5, "session")
    end = event(5, "error", error="The store does not answer", code="store_unavailable")
    client, _ = scripted(stream(frames(begun), cut=True), stream(frames(begun, end)))
    assert await everything(client.stream("ses_1", "Hello")) == [begun, end]


async def test_gaps_and_unknown_types_are_passed_on(scripted: Scripted) -> None:
    told = [event(5, "gap", first_available=6), event(6, "of_a_newer_server", news=[1]), event(7, "done")]
    client, _ = scripted(stream(frames(*told)))
    assert await everything(client.stream("ses_1", "Hello")) == told


async def test_progress_forgives_earlier_losses(scripted: Scripted) -> None:
    told = [event(number, "text_delta", text="x") for number in range(1, 9)] + [event(9, "done")]
    client, requests = scripted(*(stream(frames(one), cut=True) for one in told))
    assert await everything(client.stream("ses_1", "Hello")) == told
    assert len(requests) == 9


async def test_a_server_that_is_behind_is_asked_again(scripted: Scripted) -> None:
    begun, end = event(5, "session"), event(6, "done")
    behind = httpx.Response(409, headers={"retry-after": "1"}, json={"status": 409, "code": "cursor_ahead"})
    client, _ = scripted(stream(frames(begun), cut=True), behind, stream(frames(end)))
    assert await everything(client.stream("ses_1", "Hello")) == [begun, end]


@pytest.mark.parametrize("data", ["{", "[]", '{"id": "5", "type": "done"}', '{"id": 5}'])
async def test_what_is_no_event_is_an_error_at_once(scripted: Scripted, data: str) -> None:
    client, requests = scripted(stream(f"data: {data}\n\n".encode()))
    with pytest.raises(PaddockStreamError):
        await everything(client.stream("ses_1", "Hello"))
    assert len(requests) == 1


async def test_what_is_no_stream_is_an_error_at_once(scripted: Scripted) -> None:
    client, requests = scripted(stream(b"<html>", kind="text/html"))
    with pytest.raises(PaddockError) as refused:
        await everything(client.stream("ses_1", "Hello"))
    assert refused.value.code == "unexpected_answer" and len(requests) == 1
