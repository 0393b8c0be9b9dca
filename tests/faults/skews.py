"""Which releases are tried beside one another, and what only the newer one can do."""

from typing import Any

from tests.faults import older_releases
from tests.faults.older_releases import THIS
from tests.faults.sides import Side
from tests.faults.skew import Beside, Skew


async def a_task(beside: Beside, title: str = "of both") -> str:
    """The releases differ in what they store of the same events."""
    receipt = await beside.author.order("POST", "/api/v1/tasks", {"title": title}, 1, to=beside.new.name)
    return str(receipt["stream_id"])


async def unknown_events(beside: Beside) -> str:
    """A task is moved, another one stopped, and a project archived: the old release refuses for the moment what rests on it."""
    author, old, new = beside.author, beside.old, beside.new
    key = f"P{len(author.issued)}"
    project = (await author.post("/api/v1/projects", {"key": key, "name": key}, to=new.name)).json()["stream_id"]
    moved, stopped = [await a_task(beside, title) for title in ("to be moved", "to be stopped")]
    await author.order("POST", f"/api/v1/tasks/{moved}/move", {"project_id": project}, 2, to=new.name)
    await author.order("POST", f"/api/v1/tasks/{stopped}/start", {}, 2, to=new.name)
    await author.order("POST", f"/api/v1/tasks/{stopped}/stop", {}, 3, to=new.name)
    await author.order("POST", f"/api/v1/projects/{project}/archive", {}, 2, to=new.name)
    inside = {"title": "in an archived project", "project_id": project}
    refused = await author.post("/api/v1/tasks", inside, to=new.name)
    beside.expect(refused.status_code == 409, f"{new.name} puts tasks into an archived project")
    if is_there(beside, old):
        for path, body in (
            (f"/api/v1/tasks/{moved}/start", {}),
            (f"/api/v1/tasks/{stopped}/start", {}),
            ("/api/v1/tasks", inside),
        ):
            answer = await author.post(path, body, to=old.name)
            is_refused = answer.status_code == 503 and "retry-after" in answer.headers
            beside.expect(is_refused, f"{old.name} answers POST {path} with {answer.status_code} {answer.text[:200]}")
    return stopped


async def what_both_know(beside: Beside) -> None:
    """Something that both can read happens to a task of which the old release cannot read everything."""
    beside.touched += 1
    path, title = f"/api/v1/tasks/{beside.task}/rename", f"renamed {beside.touched} times"
    await beside.author.order("POST", path, {"title": title}, 3 + beside.touched, to=beside.new.name)


async def a_memo(beside: Beside) -> str:
    """A stream of an aggregate that the old release has never heard of."""
    for number in range(3):
        await beside.author.order("POST", "/api/v1/memos", {"text": f"memo {number}"}, 1, to=beside.new.name)
    return await a_task(beside)


async def a_new_field(beside: Beside) -> str:
    """A task is created with a field that the old release would not take, and passes over."""
    author = beside.author
    fields = {"title": "urgent", "priority": "urgent"}
    receipt = await author.order("POST", "/api/v1/tasks", fields, 1, to=beside.new.name)
    for side, priority in ((beside.new, "urgent"), (beside.old, "none")):
        if is_there(beside, side) and side.works:
            beside.note(await side.reached(receipt["position"], beside.patience))
            shown: Any = await side.read(author, f"tasks/{receipt['stream_id']}?min_position={receipt['position']}")
            beside.expect(shown["priority"] == priority, f"{side.name} shows {shown}")
    return str(receipt["stream_id"])


def is_there(beside: Beside, side: Side) -> bool:
    """Whether the release has come already."""
    return side.name in beside.trial.gateway.releases


SKEWS = {
    skew.name: skew
    for skew in (
        Skew(name="other layouts", old=older_releases.OTHER_LAYOUTS, new=THIS, act=a_task),
        Skew(
            name="fewer events", old=older_releases.FEWER_EVENTS, new=THIS, act=unknown_events, again=what_both_know, holds=True
        ),
        Skew(
            name="fewer events, other layouts",
            old=older_releases.FEWER_EVENTS_AND_OTHER_LAYOUTS,
            new=THIS,
            act=unknown_events,
            again=what_both_know,
            holds=True,
        ),
        Skew(name="fewer fields", old=older_releases.FEWER_FIELDS, new=THIS, act=a_new_field),
        Skew(
            name="one more aggregate",
            old=THIS,
            new=older_releases.ONE_MORE_AGGREGATE,
            act=a_memo,
            is_checked=False,
            unknown="memo.written",
        ),
    )
}
