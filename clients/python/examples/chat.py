"""Chats with an agent on the terminal, and asks there for what its tools need a permission for.

    python examples/chat.py http://127.0.0.1:8000 alice
"""

from __future__ import annotations

import asyncio
import os
import sys

from paddock import Paddock, PaddockException, PermissionAnswer, allow, deny
from paddock.events import PermissionRequestEvent


async def ask(request: PermissionRequestEvent) -> PermissionAnswer:
    """Asks the person at the terminal."""
    words = f"\n{request['tool_name']} {request['tool_input']}\nAllow? [y/N] "
    answer = await asyncio.to_thread(input, words)
    return allow() if answer.strip().lower() == "y" else deny("The user said no.")


async def main(url: str, user: str) -> None:
    """Takes prompts until the end of the input."""
    async with Paddock(url, os.environ.get("PADDOCK_KEY")) as paddock:
        session = await paddock.sessions.create(user, options={"permission_mode": "default"})
        while True:
            try:
                prompt = await asyncio.to_thread(input, "> ")
            except EOFError:
                return
            if not prompt.strip():
                continue
            try:
                async with paddock.stream(session["session_id"], prompt, on_permission=ask) as events:
                    async for event in events:
                        if event["type"] == "text_delta":
                            print(event["text"], end="", flush=True)
                        elif event["type"] == "tool_use":
                            print(f"\n[{event['tool_name']}]", flush=True)
                        elif event["type"] == "error":
                            print(f"\n{event['error']}", flush=True)
                print()
            except PaddockException as error:
                print(f"\n{error}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2]))
