// A session against the types that openapi-typescript makes, with openapi-fetch. It compiles, or the description lies.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi-typescript/schema";

type Command = components["schemas"]["AnyCommand"];

function explained(problem: components["schemas"]["CompleteTaskProblem"]): string {
  // Every code of the operation is known, so a misspelt one does not compile.
  return problem.code === "task_closed" ? "it was cancelled" : problem.detail;
}

export async function session(baseUrl: string, email: string): Promise<string> {
  const client = createClient<paths>({ baseUrl });
  const registered = await client.POST("/api/v1/auth/register", {
    body: { email, password: "correct horse battery staple", display_name: "Ada" },
  });
  if (registered.error) throw new Error(registered.error.code);
  const headers = { Authorization: `Bearer ${registered.data.access_token}` };

  const created = await client.POST("/api/v1/tasks", {
    body: { title: "Write the report", priority: "high" },
    params: { header: { "Idempotency-Key": "first" } },
    headers,
  });
  if (created.error) throw new Error(created.error.detail);
  const task_id: string = created.data.stream_id;

  const listed = await client.GET("/api/v1/tasks", {
    params: { query: { status: ["open"], min_position: created.data.position } },
    headers,
  });
  if (listed.error) throw new Error(listed.error.detail);
  const titles: string[] = listed.data.items.map((item) => item.title);
  const further: string | null = listed.data.next_cursor;

  const changed = await client.PATCH("/api/v1/tasks/{task_id}", {
    body: { title: "Write the annual report", due_at: null },
    params: { path: { task_id }, header: { "If-Match": `"v${created.data.version}"`, Prefer: "handling=strict" } },
    headers,
  });
  if (changed.error) throw new Error(changed.error.detail);

  const commands: Command[] = [
    { command: "create", title: "Book the room" },
    // @ts-expect-error: a command without its tag does not compile.
    { title: "Nobody knows what this is" },
  ];
  const batch = await client.POST("/api/v1/tasks/batch", {
    body: { commands: [{ command: commands[0]! }, { task_id, command: { command: "complete", reason: "approved" } }] },
    headers,
  });
  if (batch.error) throw new Error(batch.error.detail);
  for (const result of batch.data.results) {
    if (result.receipt) titles.push(result.receipt.stream_id);
    else titles.push(result.problem?.code ?? "neither");
  }

  const again = await client.POST("/api/v1/tasks/{task_id}/complete", { params: { path: { task_id } }, headers });
  if (again.error) return explained(again.error);

  const history = await client.GET("/api/v1/tasks/{task_id}/history", {
    params: { path: { task_id }, query: { min_position: again.data.position } },
    headers,
  });
  if (history.error) throw new Error(history.error.detail);
  const completed = history.data.items.filter((entry) => entry.type === "task.completed");
  const fields = completed.flatMap((entry) => entry.changes.filter((change) => change.field === "status"));

  const changes = await client.GET("/api/v1/changes", {
    params: { query: { limit: 10, min_position: again.data.position } },
    headers,
  });
  if (changes.error) throw new Error(changes.error.detail);
  const counts = await client.GET("/api/v1/tasks/counts", { headers });
  if (counts.error) throw new Error(counts.error.detail);
  const open: number = counts.data.open;
  if (fields.length !== 1 || changes.data.items.length < 4 || changes.data.has_more || further !== null) throw new Error("not told all");
  return `${titles.length} ${open}`;
}
