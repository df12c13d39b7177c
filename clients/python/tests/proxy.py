"""A TCP proxy that cuts connections in the middle of what the server sends."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class CuttingProxy:
    """Cuts the first ``cuts`` connections over which more than ``after`` bytes came, right after those bytes."""

    def __init__(self, url: str, cuts: int, after: int) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "", target.port or 80)
        self._after = after
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.cuts_left = cuts
        """How many connections it is still going to cut."""
        self.connections = 0
        """How many connections it has taken."""
        self.requests: list[str] = []
        """The first line that came over each."""
        self.url = ""
        """Where it is."""

    @classmethod
    async def start(cls, url: str, *, cuts: int = 0, after: int = 0) -> CuttingProxy:
        proxy = cls(url, cuts, after)
        proxy._server = await asyncio.start_server(proxy._take, "127.0.0.1", 0)
        port = proxy._server.sockets[0].getsockname()[1]
        proxy.url = f"http://127.0.0.1:{port}"
        return proxy

    def cut_at_next_byte(self, cuts: int) -> None:
        """Cuts the next ``cuts`` connections over which anything comes, also those that are open, before it passes."""
        self.cuts_left, self._after = cuts, -1

    async def cut(self) -> None:
        """Cuts all connections that are open."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _pass(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._target)
        there = asyncio.ensure_future(self._there(from_client, to_server))
        try:
            await self._back(from_server, to_client)
        except ConnectionError:
            pass
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.close()

    async def _there(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        is_first = True
        while piece := await source.read(65536):
            if is_first:
                self.requests.append(piece.split(b"\r\n")[0].decode())
                is_first = False
            sink.write(piece)
            await sink.drain()

    async def _back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        passed = 0
        while piece := await source.read(65536):
            is_cut = self.cuts_left > 0 and passed + len(piece) > self._after
            if is_cut:
                self.cuts_left -= 1
                piece = piece[: max(0, self._after - passed)]
            sink.write(piece)
            await sink.drain()
            if is_cut:
                return
            passed += len(piece)
