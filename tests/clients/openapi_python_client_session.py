"""A session against the client that openapi-python-client makes. mypy is content with it, or the description lies."""

import sys
from uuid import UUID, uuid4

from openapi_python_client_made import AuthenticatedClient, Client
from openapi_python_client_made.api.accounts import register
from openapi_python_client_made.api.commands import (
    batch_tasks,
    change_task,
    complete_task,
    create_project,
    create_task,
    move_task,
)
from openapi_python_client_made.api.history import get_changes, get_task_history
from openapi_python_client_made.api.projects import list_projects
from openapi_python_client_made.api.tasks import count_tasks, diff_tasks, list_tasks
from openapi_python_client_made.models import (
    Batch,
    BatchItem,
    BatchResults,
    Changes,
    ChangeTask,
    CompleteTask,
    CompleteTaskProblem,
    CompleteTaskProblemCode,
    CreateProject,
    CreateTask,
    EventType,
    FieldName,
    History,
    MoveTask,
    Priority,
    ProjectPage,
    ReceiptBody,
    Registration,
    Status,
    TaggedCompleteTask,
    TaggedCompleteTaskCommand,
    TaggedCreateTask,
    TaggedCreateTaskCommand,
    TaskCounts,
    TaskDifferences,
    TaskPage,
    Tokens,
)


def session(base_url: str, email: str) -> str:
    """Register, create, list, change, send a batch, complete, and read history, changes and counts."""
    person = Registration(email=email, password="correct horse battery staple", display_name="Ada")
    tokens = register.sync(client=Client(base_url=base_url), body=person)
    assert isinstance(tokens, Tokens), tokens
    client = AuthenticatedClient(base_url=base_url, token=tokens.access_token)

    wanted = CreateTask(title="Write the report", priority=Priority.HIGH)
    created = create_task.sync(client=client, body=wanted, idempotency_key="first")
    assert isinstance(created, ReceiptBody), created
    task_id: UUID = created.stream_id
    number = created.number
    assert isinstance(number, int)
    address = f"TASKS-{number}"

    listed = list_tasks.sync(client=client, status=[Status.OPEN], min_position=created.position)
    assert isinstance(listed, TaskPage), listed
    further: str | None = listed.next_cursor

    change = ChangeTask(title="Write the annual report", due_at=None)
    changed = change_task.sync(address, client=client, body=change, if_match=f'"v{created.version}"', prefer="handling=strict")
    assert isinstance(changed, ReceiptBody), changed

    booking = TaggedCreateTask(command=TaggedCreateTaskCommand.CREATE, title="Book the room")
    completing = TaggedCompleteTask(command=TaggedCompleteTaskCommand.COMPLETE, reason="approved")
    commands = [BatchItem(command=booking), BatchItem(command=completing, task_id=task_id)]
    batch = batch_tasks.sync(client=client, body=Batch(commands=commands))
    assert isinstance(batch, BatchResults), batch
    assert [result.status for result in batch.results] == [201, 200]

    again = complete_task.sync(str(task_id), client=client, body=CompleteTask())
    if isinstance(again, CompleteTaskProblem) and again.code is CompleteTaskProblemCode.TASK_CLOSED:
        return again.detail
    assert isinstance(again, ReceiptBody), again

    history = get_task_history.sync(address, client=client, min_position=again.position)
    assert isinstance(history, History), history
    done = [entry for entry in history.items if entry.type_ is EventType.TASK_COMPLETED]
    assert [change.field for entry in done for change in entry.changes] == [FieldName.STATUS]
    changes = get_changes.sync(client=client, limit=10, min_position=again.position)
    assert isinstance(changes, Changes), changes
    assert not changes.has_more
    counts = count_tasks.sync(client=client)
    assert isinstance(counts, TaskCounts), counts

    opening = CreateProject(key="WEB", name="Web site")
    opened = create_project.sync(client=client, body=opening)
    assert isinstance(opened, ReceiptBody), opened
    moved = move_task.sync(address, client=client, body=MoveTask(project_id=opened.stream_id))
    assert isinstance(moved, ReceiptBody), moved
    entered = diff_tasks.sync(client=client, from_=str(opened.position), to=str(moved.position), project="WEB")
    assert isinstance(entered, TaskDifferences), entered
    projects = list_projects.sync(client=client, min_position=moved.position)
    assert isinstance(projects, ProjectPage), projects
    assert [project.key for project in projects.items] == ["TASKS", "WEB"]
    in_progress: int = counts.in_progress
    return f"{in_progress} {further}"


if __name__ == "__main__":
    print(session(sys.argv[1], f"{uuid4()}@example.org"))
