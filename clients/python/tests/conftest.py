"""A real server for the tests: the one that ``PADDOCK_URL`` names, or one that is started from ``PADDOCK_BIN``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from proxy import CuttingProxy

from paddock import Paddock, Session, SessionOptions

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
"""How long a test waits for anything, in seconds."""

# The server is on loopback, where no proxy of the machine's is wanted.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@dataclass(frozen=True)
class Server:
    """Where the server is, and a key of it."""

    url: str
    key: str | None = None

    def client(self, url: str | None = None, **options: Any) -> Paddock:
        """A client of it; by way of ``url`` if that is given."""
        return Paddock(url or self.url, self.key, **options)


def is_ready(url: str) -> bool:
    """Whether the server takes work."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended, or does within a moment."""
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return False
    return True


def environment(home: Path, port: int) -> dict[str, str]:
    """The variables of a server of its own, with nothing of the machine's settings but how agents are fenced in."""
    foreign = ("PADDOCK", "ANTHROPIC_", "CLAUDE_")
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) or name.startswith("PADDOCK__ISOLATION__")
    }
    cli = os.environ.get("PADDOCK__AGENT__CLI_PATH")
    if cli is None:
        install = [str(REPOSITORY / "scripts" / "install-cli.sh")]
        cli = subprocess.run(install, check=True, capture_output=True, text=True).stdout.strip()
    return {
        **variables,
        "PADDOCK__AGENT__CLI_PATH": cli,
        "PADDOCK__AGENT__HOMES_DIR": str(home / "homes"),
        "PADDOCK__API__PORT": str(port),
        "PADDOCK__MODEL__SCRIPTED": "true",
        "PADDOCK__SESSION__SQLITE_PATH": str(home / "s.db"),
        "PADDOCK__USER__BASE_DIR": str(home / "users"),
    }


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server that all tests share."""
    if url := os.environ.get("PADDOCK_URL"):
        yield Server(url.rstrip("/"), os.environ.get("PADDOCK_KEY"))
        return
    binary = os.environ.get("PADDOCK_BIN")
    if not binary or not os.access(binary, os.X_OK):
        pytest.fail("set PADDOCK_BIN to the server's binary, or PADDOCK_URL to a server's address", pytrace=False)
    home = Path(tempfile.mkdtemp(prefix="paddock-client-"))
    # Agents may run under users of their own, which must be able to reach their folders.
    home.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(binary).resolve()), "serve"], cwd=home, env=environment(home, port), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(url):
            if has_ended(process) or time.monotonic() > deadline:
                pytest.fail(f"the server did not get ready:\n{log.read_text()}", pytrace=False)
        yield Server(url)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Paddock]:
    """A client of the server."""
    async with server.client() as client:
        yield client


@pytest.fixture
def user() -> str:
    """A user that no other test has."""
    return f"py-{uuid.uuid4().hex[:12]}"


NewSession = Callable[..., Awaitable[Session]]


@pytest.fixture
async def new_session(client: Paddock, user: str) -> AsyncIterator[NewSession]:
    """Makes sessions, which are closed when the test is over."""
    made: list[str] = []

    async def make(options: SessionOptions | None = None) -> Session:
        session = await client.sessions.create(user, options=options)
        made.append(session["session_id"])
        return session

    yield make
    for session_id in made:
        await client.sessions.delete(session_id)


@pytest.fixture
async def session_id(new_session: NewSession) -> str:
    """A session."""
    return (await new_session({"allowed_tools": ["Bash"]}))["session_id"]


@pytest.fixture
async def new_proxy(server: Server) -> AsyncIterator[Callable[..., Awaitable[CuttingProxy]]]:
    """Makes proxies in front of the server that cut connections."""
    proxies: list[CuttingProxy] = []

    async def make(**options: Any) -> CuttingProxy:
        proxy = await CuttingProxy.start(server.url, **options)
        proxies.append(proxy)
        return proxy

    yield make
    for proxy in proxies:
        await proxy.aclose()


def in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same test, which fails where it would wait for ever for what does not come."""

    @functools.wraps(test)
    async def timed(*given: Any, **named: Any) -> None:
        await asyncio.wait_for(test(*given, **named), PATIENCE)

    return timed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = in_time(item.obj)
