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
    CreateProject,
    CreateTask,
    EventType,
    HistoryApi,
    MoveTask,
    Priority,
    ProjectsApi,
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
    commands, history, tasks, projects = CommandsApi(client), HistoryApi(client), TasksApi(client), ProjectsApi(client)

    wanted = CreateTask(title="Write the report", priority=Priority.HIGH)
    created = commands.create_task(wanted, idempotency_key="first")
    task_id: UUID = created.stream_id
    address = f"TASKS-{created.number}"
    listed = tasks.list_tasks(status=[Status.OPEN], min_position=created.position)
    further: str | None = listed.next_cursor
    assert further is None

    change = ChangeTask(title="Write the annual report")
    commands.change_task(address, change, if_match=f'"v{created.version}"', prefer="handling=strict")
    booking = AnyCommand(TaggedCreateTask(command="create", title="Book the room"))
    batch = commands.batch_tasks(Batch(commands=[BatchItem(command=booking)]))
    assert [result.status for result in batch.results] == [201]

    completed = commands.complete_task(str(task_id), complete_task=CompleteTask(reason="approved"))
    entries = history.get_task_history(address, min_position=completed.position)
    assert EventType.TASK_DOT_COMPLETED in [entry.type for entry in entries.items]
    assert not history.get_changes(limit=10, min_position=completed.position).has_more
    counts = tasks.count_tasks(min_position=completed.position)

    opened = commands.create_project(CreateProject(key="WEB", name="Web site"))
    moved = commands.move_task(address, MoveTask(project_id=opened.stream_id))
    entered = tasks.diff_tasks(str(opened.position), str(moved.position), project="WEB")
    assert not entered.has_more
    assert [each.key for each in projects.list_projects(min_position=moved.position).items] == ["TASKS", "WEB"]
    return counts.open
