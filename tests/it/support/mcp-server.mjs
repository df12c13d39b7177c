// A small MCP server over stdio, for tests: one tool, `add`, which also tells its variable TINY_SECRET's length.
import { createInterface } from "node:readline";

const answer = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result }) + "\n");

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") {
    answer(id, {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "tiny", version: "1.0.0" },
    });
  } else if (method === "tools/list") {
    const number = { type: "number" };
    const inputSchema = { type: "object", properties: { a: number, b: number }, required: ["a", "b"] };
    answer(id, { tools: [{ name: "add", description: "Adds", inputSchema }] });
  } else if (method === "tools/call") {
    const { a, b } = params.arguments;
    const secret = (process.env.TINY_SECRET ?? "").length;
    answer(id, { content: [{ type: "text", text: `sum ${a + b}, secret of ${secret}` }] });
  } else if (id !== undefined) {
    answer(id, {});
  }
}
