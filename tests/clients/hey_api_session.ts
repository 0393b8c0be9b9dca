// A session against the client that @hey-api/openapi-ts makes. It compiles, or the description lies.
import { createClient } from "./hey-api/client";
import {
  batchTasks,
  changeTask,
  completeTask,
  countTasks,
  createTask,
  getChanges,
  getTaskHistory,
  listTasks,
  register,
} from "./hey-api/sdk.gen";
import type { AnyCommand, CompleteTaskProblem, EventType, TaskSummary } from "./hey-api/types.gen";

function explained(problem: CompleteTaskProblem): string {
  return problem.code === "task_closed" ? "it was cancelled" : problem.detail;
}

export async function session(baseUrl: string, email: string): Promise<string> {
  const anonymous = createClient({ baseUrl });
  const registered = await register({
    client: anonymous,
    body: { email, password: "correct horse battery staple", display_name: "Ada" },
  });
  if (registered.error) throw new Error(registered.error.code);
  const client = createClient({ baseUrl, auth: registered.data.access_token });

  const created = await createTask({
    client,
    body: { title: "Write the report", priority: "high" },
    headers: { "Idempotency-Key": "first" },
  });
  if (created.error) throw new Error(created.error.detail);
  const path = { task_id: created.data.stream_id };

  const listed = await listTasks({ client, query: { status: ["open"], min_position: created.data.position } });
  if (listed.error) throw new Error(listed.error.detail);
  const first: TaskSummary | undefined = listed.data.items[0];

  const changed = await changeTask({
    client,
    path,
    body: { title: "Write the annual report", due_at: null },
    headers: { "If-Match": `"v${created.data.version}"`, Prefer: "handling=strict" },
  });
  if (changed.error) throw new Error(changed.error.detail);

  const commands: AnyCommand[] = [
    { command: "create", title: "Book the room" },
    // @ts-expect-error: a command without its tag does not compile.
    { title: "Nobody knows what this is" },
  ];
  const batch = await batchTasks({
    client,
    body: { commands: [{ command: commands[0]! }, { ...path, command: { command: "complete", reason: "approved" } }] },
  });
  if (batch.error) throw new Error(batch.error.detail);
  const codes = batch.data.results.map((result) => result.problem?.code ?? result.receipt?.version);

  const again = await completeTask({ client, path });
  if (again.error) return explained(again.error);

  const history = await getTaskHistory({ client, path, query: { min_position: again.data.position } });
  if (history.error) throw new Error(history.error.detail);
  const kinds: EventType[] = history.data.items.map((entry) => entry.type);

  const changes = await getChanges({ client, query: { limit: 10, min_position: again.data.position } });
  if (changes.error) throw new Error(changes.error.detail);
  const counts = await countTasks({ client });
  if (counts.error) throw new Error(counts.error.detail);
  const open: number = counts.data.open;
  if (!kinds.includes("task.completed") || changes.data.has_more || !first) throw new Error("not told all");
  return `${codes.length} ${open}`;
}
