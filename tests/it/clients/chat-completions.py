# The official Python client, as its documentation shows it: python chat-completions.py BASE_URL
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
told = {"models": [model.id for model in client.models.list()]}

completion = client.chat.completions.create(
    model="claude-code",
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Remember the number 42"},
    ],
    user="python",
)
told["answer"] = completion.choices[0].message.content
told["finish_reason"] = completion.choices[0].finish_reason
told["total_tokens"] = completion.usage.total_tokens

stream = client.chat.completions.create(
    model="claude-code",
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Which number did I ask you to remember?"},
    ],
    user="python",
    stream=True,
    stream_options={"include_usage": True},
)
pieces, usage = [], None
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        pieces.append(chunk.choices[0].delta.content)
    usage = chunk.usage or usage
told["streamed"] = "".join(pieces)
told["pieces"] = len(pieces)
told["streamed_tokens"] = usage.total_tokens

told["errors"] = []
for change in ({"model": "gpt-4"}, {"temperature": 0.2}):
    asked = {"model": "claude-code", "messages": [{"role": "user", "content": "Hello"}], **change}
    try:
        client.chat.completions.create(**asked)
    except openai.APIStatusError as error:
        told["errors"].append([type(error).__name__, error.code, error.param])
try:
    openai.OpenAI(base_url=sys.argv[1], api_key="wrong-key-of-nobody", max_retries=0).models.list()
except openai.APIStatusError as error:
    told["errors"].append([type(error).__name__, error.code, error.param])
print(json.dumps(told))
