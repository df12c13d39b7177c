"""The reader of server-sent events."""

from __future__ import annotations

import pytest

from paddock import PaddockStreamError
from paddock.sse import ServerSentEvent, SseReader

STREAM = (
    "\ufeff"
    "retry: 2000\n\n"
    ": keep-alive\n\n"
    "id: 1\r\ndata: größer 🐎\r\ndata:second\r\n\r\n"
    "event: odd\rid: 2\rdata\r\r"
    "unknown: field\nid: with\0null\ndata:  two spaces\n\n"
    "id: 3\n\n"
    "data: after 3\n\n"
    "data: cut o"
).encode()
EVENTS = [
    ServerSentEvent("größer 🐎\nsecond", "message", "1"),
    ServerSentEvent("", "odd", "2"),
    ServerSentEvent(" two spaces", "message", "2"),
    ServerSentEvent("after 3", "message", "3"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_pieces_of_any_size_make_the_same_events(size: int) -> None:
    reader = SseReader()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    told = [event for piece in pieces for event in [*reader.feed(piece), *reader.feed(b"")]]
    assert told == EVENTS
    assert reader.retry_ms == 2000


def test_a_crlf_over_two_pieces_is_one_line_end() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"\ndata: b\r") == []
    assert reader.feed(b"\n\r") == [ServerSentEvent("a\nb", "message", "")]
    assert reader.feed(b"\ndata: c\n\n") == [ServerSentEvent("c", "message", "")]


def test_a_retry_that_is_no_number_is_left_alone() -> None:
    reader = SseReader()
    reader.feed("retry: 50\nretry: soon\nretry: -1\nretry: ²\n\n".encode())
    assert reader.retry_ms == 50


def test_what_is_no_utf_8_does_not_end_the_stream() -> None:
    assert SseReader().feed(b"data: a\xff\xc3(b\n\n") == [ServerSentEvent("a\ufffd\ufffd(b", "message", "")]


def test_a_line_has_a_bound() -> None:
    reader = SseReader(max_bytes=10)
    assert reader.feed(b"data: 1234\n\n") == [ServerSentEvent("1234", "message", "")]
    with pytest.raises(PaddockStreamError, match="longer than 10 bytes"):
        reader.feed(b"data: 12345")


def test_an_event_of_many_lines_has_a_bound() -> None:
    reader = SseReader(max_bytes=20)
    reader.feed(b"data: 12\ndata: 34\n")
    with pytest.raises(PaddockStreamError):
        reader.feed(b"data: 56\n")
