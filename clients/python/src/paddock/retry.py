"""When something is tried again, and how long is waited before."""

from __future__ import annotations

import asyncio
import random

from .errors import UNEXPECTED, PaddockConnectionError, PaddockError

__all__ = ["Retries"]

FIRST_WAIT = 0.25
"""The longest wait before the first new try, in seconds; each one after it may be twice as long."""
LONGEST_WAIT = 8.0
"""The longest wait that is chosen here, in seconds."""
LONGEST_RETRY_AFTER = 60.0
"""The longest wait that a server is granted, in seconds. If it asks for more, the caller decides."""
COMES_TRUE = frozenset({"cursor_ahead", "request_in_progress"})
"""Refusals that end by themselves: the log comes to the cursor, the first request gets its answer."""


class Retries:
    """Counts failures without progress in between, and waits before the next try.

    Waits are spread at random, so that the clients of a server that was restarted do not come back all at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failures = 0
        self.first_wait = FIRST_WAIT
        """The longest wait before the first new try, in seconds. A stream's ``retry:`` sets it."""

    def progressed(self) -> None:
        """Forgets earlier failures."""
        self._failures = 0

    async def after_loss(self, cause: BaseException | str) -> None:
        """Waits after a lost connection; raises ``PaddockConnectionError`` if there were too many."""
        if self._failures >= self._most:
            told = cause if isinstance(cause, str) else str(cause) or type(cause).__name__
            error = PaddockConnectionError(f"no answer, tried {self._failures + 1} times: {told}")
            raise error from (cause if isinstance(cause, BaseException) else None)
        await self._wait(None)

    async def after_refusal(self, error: PaddockError) -> None:
        """Waits after an answer that is worth another try; raises it if it is not, or if there were too many."""
        if self._failures >= self._most or not _is_passing(error):
            raise error
        await self._wait(error.retry_after)

    async def _wait(self, at_least: float | None) -> None:
        longest = min(LONGEST_WAIT, self.first_wait * 2.0**self._failures)
        self._failures += 1
        await asyncio.sleep((at_least or 0.0) + random.uniform(0.0, longest))


def _is_passing(error: PaddockError) -> bool:
    if error.turn_id is not None:
        # A turn ended this way. It does not end another way when it is asked for again.
        return False
    if error.retry_after is not None and error.retry_after > LONGEST_RETRY_AFTER:
        return False
    if error.code in COMES_TRUE:
        return True
    if error.code == UNEXPECTED:
        # A proxy whose server is just being started again says this.
        return error.status in (429, 502, 503, 504)
    return error.status in (429, 503) and error.retry_after is not None
