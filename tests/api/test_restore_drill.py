"""The restore drill: a backup, a loss, a restore, and clients that come back with what they knew before it."""

from pathlib import Path

from infrastructure.cli.backup import backup
from infrastructure.cli.restore import restore
from infrastructure.log.verify import verify_log
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.settings import Settings
from tests.api_world import PASSWORD, ROOT, User, problem, serving


def test_after_a_restore_clients_sign_in_again_and_old_places_are_told_from_lost_ones(
    api_settings: Settings, tmp_path: Path
) -> None:
    with serving(api_settings) as api:
        ada = api.register("ada")
        kept_task = ada.task("kept")
        kept = api.events(kept_task)[-1]
        file = backup(api_settings.database_url, tmp_path / "log.backup").file
        # Where the first of them stood, the log will say that it was restored.
        ada.task("lost as well")
        lost_task = ada.task("lost")
        lost = api.events(lost_task)[-1]
        assert ada.shown(lost_task)["title"] == "lost"
    restore(api_settings.database_url, file, replace=True)
    assert verify_log(api_settings.database_url, "main").first_bad is None
    with serving(api_settings) as api:
        problem(api.request("GET", f"{ROOT}/me", headers=ada.headers), 401)
        body = {"email": ada.email, "password": PASSWORD}
        signed_in = api.request("POST", f"{ROOT}/auth/login", json=body)
        assert signed_in.status_code == 200, signed_in.text
        again = User(api, ada.email, signed_in.json())
        problem(again.get(f"/tasks/{lost_task}"), 404, "task_not_found")
        new_task = again.task("appended afterwards")
        new = api.events(new_task)[-1]
        assert (new.position, new.hash == lost.hash) == (lost.position, False)
        projecting = LogProjecting(api_settings.database_url, api_settings.redis_url, "main")
        for _ in range(3):
            projecting.sweep()
        projecting.close()
        listed = again.get(f"/tasks?min_position={new.position}").json()["items"]
        assert [task["title"] for task in listed] == ["appended afterwards", "kept"]
        at = f"/tasks/{kept_task}?as_of={{}}.{{}}"
        assert again.get(at.format(kept.position, kept.hash.hex()[:8])).json()["title"] == "kept"
        problem(again.get(at.format(lost.position, lost.hash.hex()[:8])), 409, "another_history", "as_of")
        feed = "/changes?after={}.{}"
        assert again.get(feed.format(kept.position, kept.hash.hex()[:8])).json()["items"][0]["stream_id"] == str(new_task)
        problem(again.get(feed.format(lost.position, lost.hash.hex()[:8])), 409, "another_history", "after")
