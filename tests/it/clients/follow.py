"""Follows a session's log as lines of JSON with httpx, from the last id on whenever the connection is lost."""

import json
import sys

import httpx

url, last_type = sys.argv[1], sys.argv[2]
after, told, connections = 0, [], 0
with httpx.Client(timeout=60, trust_env=False) as client:
    while not told or told[-1]["type"] != last_type:
        connections += 1
        try:
            with client.stream(
                "GET",
                url,
                params={"after": after, "follow": "true"},
                headers={"Accept": "application/x-ndjson"},
            ) as response:
                response.raise_for_status()
                for line in response.iter_lines():
                    line = line.strip()
                    if not line:
                        continue
                    try:
                        event = json.loads(line)
                    except json.JSONDecodeError:
                        break  # The connection was lost in the middle of it.
                    told.append(event)
                    after = event["id"]
                    if event["type"] == last_type:
                        break
        except (httpx.ReadError, httpx.RemoteProtocolError):
            pass
print(json.dumps({"events": told, "connections": connections}))
