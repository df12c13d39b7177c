"""A reader of server-sent events, as the HTML standard has them."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PaddockStreamError

__all__ = ["EVENT_MAX_BYTES", "ServerSentEvent", "SseReader"]

EVENT_MAX_BYTES = 16 * 1024 * 1024
"""The longest event that is read, in bytes, and the longest line."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ServerSentEvent:
    """One event of a stream."""

    data: str
    """Its lines of data, joined by line feeds."""
    event: str
    """Its type; ``message`` when it names none."""
    id: str
    """The last id that the stream has told so far; empty when it has told none."""


class SseReader:
    """Takes what a stream sends, in pieces of any size, and gives the events that are whole.

    An event that is cut off is never given. ``PaddockStreamError`` when one is longer than ``max_bytes``.
    """

    def __init__(self, max_bytes: int = EVENT_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._after_cr = False
        self._at_start = True
        self._data: list[str] = []
        self._data_bytes = 0
        self._event = ""
        self._id = ""
        self.retry_ms: int | None = None
        """How soon to reconnect, in milliseconds, if the stream has said so."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Takes the next piece, and gives the events that it completes."""
        events: list[ServerSentEvent] = []
        if not chunk:
            return events
        if self._after_cr:
            # The other half of a CRLF that the pieces divide.
            chunk = chunk.removeprefix(b"\n")
        # Bytes are divided, not text: a character may be divided over two pieces, but no line end is part of one.
        for part in chunk.splitlines(keepends=True):
            self._line += part.rstrip(b"\r\n")
            if len(self._line) + self._data_bytes > self._max_bytes:
                raise PaddockStreamError(f"an event is longer than {self._max_bytes} bytes")
            if part.endswith((b"\r", b"\n")):
                self._end_line(events)
        self._after_cr = chunk.endswith(b"\r")
        return events

    def _end_line(self, events: list[ServerSentEvent]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            self._dispatch(events)
        elif not line.startswith(b":"):
            name, _, value = line.decode("utf-8", "replace").partition(":")
            self._field(name, value.removeprefix(" "), len(line))

    def _field(self, name: str, value: str, length: int) -> None:
        if name == "data":
            self._data.append(value)
            self._data_bytes += length
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value[:9])

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data:
            events.append(ServerSentEvent("\n".join(self._data), self._event or "message", self._id))
        self._data = []
        self._data_bytes = 0
        self._event = ""
