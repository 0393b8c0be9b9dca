// A session against the client that openapi-generator makes (typescript-fetch). It compiles, or the description lies.
import {
  AccountsApi,
  CommandsApi,
  Configuration,
  EventType,
  HistoryApi,
  Priority,
  Status,
  TasksApi,
  type AnyCommand,
} from "./openapi-generator";

export async function session(basePath: string, email: string): Promise<string> {
  const tokens = await new AccountsApi(new Configuration({ basePath })).register({
    registration: { email, password: "correct horse battery staple", displayName: "Ada" },
  });
  const configuration = new Configuration({ basePath, accessToken: tokens.accessToken });
  const commands = new CommandsApi(configuration);
  const history = new HistoryApi(configuration);
  const tasks = new TasksApi(configuration);

  const created = await commands.createTask({
    createTask: { title: "Write the report", priority: Priority.High },
    idempotencyKey: "first",
  });
  const taskId: string = created.streamId;
  const listed = await tasks.listTasks({ status: [Status.Open], minPosition: created.position });
  const further: string | null = listed.nextCursor;

  await commands.changeTask({
    taskId,
    changeTask: { title: "Write the annual report", dueAt: null },
    ifMatch: `"v${created.version}"`,
    prefer: "handling=strict",
  });
  const anyCommands: AnyCommand[] = [
    { command: "create", title: "Book the room" },
    // @ts-expect-error: a command without its tag does not compile.
    { title: "Nobody knows what this is" },
  ];
  const batch = await commands.batchTasks({
    batch: { commands: [{ command: anyCommands[0]! }, { taskId, command: { command: "complete", reason: "approved" } }] },
  });
  const codes = batch.results.map((result) => result.problem?.code ?? result.receipt?.version);

  const completed = await commands.completeTask({ taskId });
  const entries = await history.getTaskHistory({ taskId, minPosition: completed.position });
  const isDone = entries.items.some((entry) => entry.type === EventType.TaskCompleted);
  const changes = await history.getChanges({ limit: 10, minPosition: completed.position });
  const counts = await tasks.countTasks();
  const open: number = counts.open;
  if (!isDone || changes.hasMore || further !== null) throw new Error("not told all");
  return `${codes.length} ${open}`;
}
