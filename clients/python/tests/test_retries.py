"""What is sent again, and what is not: against answers that are made up."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from paddock import Paddock, PaddockConnectionError, PaddockError
from paddock.errors import seconds

Answer = httpx.Response | Exception


def problem(status: int, code: str, *, retry_after: str | None = None, **fields: object) -> httpx.Response:
    headers = {"content-type": "application/problem+json", "x-request-id": "r-1"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return httpx.Response(status, headers=headers, json={"status": status, "code": code, **fields})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, none of which is waited."""
    told: list[float] = []

    async def sleep(wait: float) -> None:
        told.append(wait)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return told


Scripted = Callable[..., tuple[Paddock, list[httpx.Request]]]


@pytest.fixture
def scripted(waits: list[float]) -> Iterator[Scripted]:
    """A client whose requests are answered in this order."""

    def make(*answers: Answer, max_retries: int = 3) -> tuple[Paddock, list[httpx.Request]]:
        requests: list[httpx.Request] = []
        left = list(answers)

        def answer(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            told = left.pop(0)
            if isinstance(told, Exception):
                raise told
            return told

        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return Paddock("http://paddock.test/base/", "key", http=http, max_retries=max_retries), requests

    yield make


async def test_a_lost_request_is_sent_again_as_it_was(scripted: Scripted, waits: list[float]) -> None:
    client, requests = scripted(
        httpx.ConnectError("refused"),
        httpx.ReadError("lost"),
        problem(503, "shutting_down", retry_after="2"),
        httpx.Response(201, json={"session_id": "ses_1"}),
    )
    made = await client.sessions.create("alice", title="Ünï")
    assert made["session_id"] == "ses_1"
    assert len({(request.headers["idempotency-key"], request.content) for request in requests}) == 1
    assert requests[0].url == "http://paddock.test/base/api/v1/sessions"
    assert requests[0].headers["authorization"] == "Bearer key"
    assert len(waits) == 3 and waits[2] >= 2.0


async def test_two_calls_have_two_keys_and_a_given_one_is_kept(scripted: Scripted) -> None:
    client, requests = scripted(*(httpx.Response(202, json={}) for _ in range(3)))
    await client.submit("ses_1", "a")
    await client.submit("ses_1", "a")
    await client.submit("ses_1", "a", idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in requests]
    assert len(set(keys)) == 3 and keys[2] == "mine"


@pytest.mark.parametrize(
    "answer",
    [
        problem(409, "session_busy", retry_after="1"),
        problem(429, "quota_reached"),
        problem(429, "rate_limited", retry_after="3600"),
        problem(503, "agents_exhausted", retry_after="1", turn_id="trn_1"),
        problem(500, "internal"),
        problem(502, "model_error", turn_id="trn_1"),
    ],
)
async def test_what_would_be_answered_the_same_is_asked_once(scripted: Scripted, answer: httpx.Response) -> None:
    client, requests = scripted(answer)
    with pytest.raises(PaddockError) as refused:
        await client.chat("ses_1", "Hello")
    assert refused.value.status == answer.status_code
    assert len(requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        problem(429, "rate_limited", retry_after="1"),
        problem(409, "request_in_progress"),
        httpx.Response(502, text="<html>Bad gateway</html>"),
    ],
)
async def test_what_passes_is_asked_again(scripted: Scripted, answer: httpx.Response) -> None:
    client, requests = scripted(answer, httpx.Response(200, json={"text": "Hi"}))
    assert (await client.chat("ses_1", "Hello"))["text"] == "Hi"
    assert len(requests) == 2


async def test_tries_have_a_bound(scripted: Scripted, waits: list[float]) -> None:
    client, requests = scripted(*(httpx.ConnectError("refused") for _ in range(3)), max_retries=2)
    with pytest.raises(PaddockConnectionError, match="tried 3 times: refused"):
        await client.me()
    assert len(requests) == 3 and len(waits) == 2


async def test_a_chat_waits_for_its_turn_longer_than_for_an_answer(scripted: Scripted) -> None:
    late = [httpx.ReadTimeout("late") for _ in range(5)]
    client, requests = scripted(*late, httpx.Response(200, json={"text": "Hi"}), max_retries=1)
    assert (await client.chat("ses_1", "Hello"))["text"] == "Hi"
    assert len({request.headers["idempotency-key"] for request in requests}) == 1


async def test_a_problem_is_told_in_full(scripted: Scripted) -> None:
    errors = [{"field": "user_id", "code": "missing", "message": "is missing"}]
    client, _ = scripted(problem(422, "validation_failed", detail="Look", errors=errors, request_id="r-2"))
    with pytest.raises(PaddockError) as refused:
        await client.sessions.create("")
    error = refused.value
    assert (error.status, error.code, error.detail, error.errors) == (422, "validation_failed", "Look", errors)
    assert (error.request_id, error.retry_after, error.turn_id) == ("r-2", None, None)
    assert str(error) == "422 validation_failed: Look; user_id is missing"


async def test_an_answer_that_is_none_is_an_error(scripted: Scripted) -> None:
    client, _ = scripted(httpx.Response(200, text="<html>"), httpx.Response(302, headers={"location": "/login"}))
    for _ in range(2):
        with pytest.raises(PaddockError) as refused:
            await client.me()
        assert refused.value.code == "unexpected_answer"


@pytest.mark.parametrize("bad", ["", "..", "a/b", "ses_1?x", "ses 1"])
async def test_what_is_no_id_is_not_sent(scripted: Scripted, bad: str) -> None:
    client, requests = scripted()
    with pytest.raises(ValueError, match="not an id"):
        await client.sessions.delete(bad)
    assert requests == []


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds("3") == 3.0
    assert seconds("-3") == 0.0
    assert seconds("soon") is None and seconds("nan") is None and seconds(None) is None
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < (seconds(date) or 0) <= 100
