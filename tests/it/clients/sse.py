# A client that keys on `data: ` lines and their `type`: python sse.py BASE_URL
import json
import sys
import urllib.request

base = sys.argv[1]


def post(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data, method="POST")
    if data is not None:
        request.add_header("Content-Type", "application/json")
    return urllib.request.urlopen(request)


session = json.load(post("/api/sessions"))["sessionId"]
frames = []
for line in post(f"/api/stream/{session}", {"prompt": "I look.\n% bash echo hello\n% say done"}):
    if line.startswith(b"data: "):
        frames.append(json.loads(line[6:]))
request = urllib.request.Request(f"{base}/api/sessions/{session}", method="DELETE")
deleted = json.load(urllib.request.urlopen(request))
print(json.dumps({"types": [frame["type"] for frame in frames], "texts":
    [frame["content"] for frame in frames if frame["type"] == "message"], "deleted": deleted["message"]}))
