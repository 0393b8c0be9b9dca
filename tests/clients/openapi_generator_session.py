"""A session against the client that openapi-generator makes (python). mypy is content with it, or the description lies."""

from uuid import UUID

from openapi_client import (
    AccountsApi,
    AnyCommand,
    ApiClient,
    Batch,
    BatchItem,
    ChangeTask,
    CommandsApi,
    CompleteTask,
    Configuration,
    CreateTask,
    EventType,
    HistoryApi,
    Priority,
    Registration,
    Status,
    TaggedCreateTask,
    TasksApi,
)


def session(host: str, email: str) -> int:
    """Register, create, list, change, send a batch, complete, and read history, changes and counts."""
    person = Registration(email=email, password="correct horse battery staple", display_name="Ada")
    tokens = AccountsApi(ApiClient(Configuration(host=host))).register(person)
    client = ApiClient(Configuration(host=host, access_token=tokens.access_token))
    commands, history, tasks = CommandsApi(client), HistoryApi(client), TasksApi(client)

    wanted = CreateTask(title="Write the report", priority=Priority.HIGH)
    created = commands.create_task(wanted, idempotency_key="first")
    task_id: UUID = created.stream_id
    listed = tasks.list_tasks(status=[Status.OPEN], min_position=created.position)
    further: str | None = listed.next_cursor
    assert further is None

    change = ChangeTask(title="Write the annual report")
    commands.change_task(task_id, change, if_match=f'"v{created.version}"', prefer="handling=strict")
    booking = AnyCommand(TaggedCreateTask(command="create", title="Book the room"))
    batch = commands.batch_tasks(Batch(commands=[BatchItem(command=booking)]))
    assert [result.status for result in batch.results] == [201]

    completed = commands.complete_task(task_id, complete_task=CompleteTask(reason="approved"))
    entries = history.get_task_history(task_id, min_position=completed.position)
    assert EventType.TASK_DOT_COMPLETED in [entry.type for entry in entries.items]
    assert not history.get_changes(limit=10, min_position=completed.position).has_more
    counts = tasks.count_tasks(min_position=completed.position)
    return counts.open
