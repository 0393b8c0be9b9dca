"""Settings: what is read, what is refused, and what a child process gets."""

import stat
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infrastructure.cli.main import taskmaster
from infrastructure.cli.settings_table import HEADING, settings_in_force, settings_table, with_table
from infrastructure.settings import (
    DESCRIPTIONS,
    VARIABLES,
    ConfigurationError,
    Settings,
    child_environ,
    load_settings,
    require_secret,
    settings_environ,
    with_kept_secret,
)

KEY = "k" * 32


def test_nothing_set_means_embedded_servers_on_loopback() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert (settings.database_url, settings.redis_url, settings.host, settings.port) == (
        "",
        "",
        "127.0.0.1",
        0,
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"TASKMASTER_PORT": "", "TASKMASTER_SECRET_KEY": ""}) == Settings()


def test_a_child_reads_the_settings_its_parent_had() -> None:
    chosen = load_settings(
        {
            "DATABASE_URL": "postgresql://u:p%20w@h/d?sslmode=require",
            "REDIS_URL": "redis://h/3",
            "TASKMASTER_HOST": "192.0.2.7",
            "TASKMASTER_PORT": "8123",
            "TASKMASTER_SECRET_KEY": KEY,
            "TASKMASTER_PREVIOUS_SECRET_KEY": "p" * 40,
            "TASKMASTER_LOG": "east_1",
            "TASKMASTER_WAIT_SECONDS": "2.5",
            "TASKMASTER_SECURE_COOKIES": "false",
        }
    )
    assert chosen.wait_seconds == 2.5
    assert load_settings(settings_environ(chosen)) == chosen


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TASKMASTER_PORT", "eighty"),
        ("TASKMASTER_PORT", "65536"),
        ("TASKMASTER_LOG", "Main"),
        ("TASKMASTER_LOG", "main\n"),
        ("TASKMASTER_LOG", "a" * 32),
        ("TASKMASTER_API_PROCESSES", "0"),
        ("TASKMASTER_WAIT_SECONDS", "-1"),
        ("TASKMASTER_SECURE_COOKIES", "maybe"),
        ("TASKMASTER_SECRET_KEY", "k" * 31),
        ("TASKMASTER_PREVIOUS_SECRET_KEY", "short"),
        ("TASKMASTER_SECRET_KEY_FILE", "/nonexistent/key"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({variable: text})
    assert str(refused.value).startswith(f"{variable}:")
    assert "\n" not in str(refused.value)


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"TASKMASTER_SECRET_KEY": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_read_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert load_settings({"TASKMASTER_SECRET_KEY_FILE": str(tmp_path / "key")}).secret_key == KEY


def test_a_secret_and_a_secret_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both set"):
        load_settings({"TASKMASTER_SECRET_KEY": KEY, "TASKMASTER_SECRET_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("host", "secure"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("192.0.2.7", True), ("tm.example", True)],
)
def test_cookies_are_secure_unless_only_this_machine_is_served(host: str, secure: bool) -> None:
    assert load_settings({"TASKMASTER_HOST": host}).secure_cookies is secure


def test_a_child_is_not_given_the_file_its_secret_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv("TASKMASTER_SECRET_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("ANOTHER_VARIABLE", "kept")
    environ = child_environ(load_settings())
    assert load_settings(environ).secret_key == KEY
    assert environ["ANOTHER_VARIABLE"] == "kept"


def test_a_generated_secret_is_kept_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    first = with_kept_secret(settings)
    assert len(first.secret_key) >= 32
    assert with_kept_secret(settings).secret_key == first.secret_key
    kept = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [file.name for file in kept.parent.iterdir()] == ["secret_key"]


def test_a_configured_secret_is_not_replaced_by_a_generated_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"), secret_key=KEY)
    assert with_kept_secret(settings) is settings
    assert not (tmp_path / "data").exists()


def test_a_missing_secret_is_refused_where_processes_must_agree_on_one() -> None:
    with pytest.raises(ConfigurationError, match="TASKMASTER_SECRET_KEY"):
        require_secret(Settings())


def test_a_printed_settings_object_shows_no_secret() -> None:
    shown = repr(Settings(secret_key=KEY, database_url="postgresql://u:hunter2@h/d", redis_url="redis://:hunter2@h"))
    assert KEY not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("TASKMASTER_PROT", "TASKMASTER_PORT"),
        ("TASKMASTER_LOG_NAME", "TASKMASTER_LOG"),
        ("TASKMASTER_SECRETKEY", "TASKMASTER_SECRET_KEY"),
        ("TASKMASTER_SECRET_KEYFILE", "TASKMASTER_SECRET_KEY_FILE"),
        ("TASKMASTER_port", "TASKMASTER_PORT"),
        ("TASKMASTER_DATABASE_URL", "DATABASE_URL"),
        ("TASKMASTER_", "TASKMASTER_"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_that_is_one(unknown: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{unknown}: there is no such setting; the nearest is {nearest}"):
        load_settings({unknown: "1"})


def test_an_unknown_variable_is_refused_even_when_it_is_empty_and_others_are_nobodys_business() -> None:
    with pytest.raises(ConfigurationError, match="TASKMASTER_PROT"):
        load_settings({"TASKMASTER_PROT": ""})
    assert load_settings({"PORT": "1", "TASKMASTERS": "2"}) == Settings()


def test_every_setting_says_what_it_is_in_one_sentence() -> None:
    assert DESCRIPTIONS.keys() == VARIABLES.keys()
    for name, description in DESCRIPTIONS.items():
        assert 10 < len(description) < 200, name
        assert not description.endswith(".")
        assert "|" not in description
        assert "\n" not in description


def test_the_table_has_a_row_for_every_setting_with_its_default() -> None:
    rows = settings_table().removeprefix(HEADING).splitlines()
    assert len(rows) == len(msgspec.structs.fields(Settings))
    assert any(row.startswith("| `TASKMASTER_LOG` | `main` | Name of the log") for row in rows)
    assert any("`TASKMASTER_SECRET_KEY_FILE`" in row for row in rows)


def test_a_document_gets_the_present_table_in_place_of_its_old_one() -> None:
    old = f"before\n\n{HEADING}| `GONE` | `1` | was there once |\n\nafter | it\n"
    assert with_table(old) == f"before\n\n{settings_table()}\nafter | it\n"
    assert with_table(with_table(old)) == with_table(old)
    with pytest.raises(ValueError, match="no settings table"):
        with_table("nothing")


def test_the_settings_in_force_show_no_password_and_no_key() -> None:
    chosen = Settings(secret_key=KEY, database_url="postgresql://u:hunter2@h/d", redis_url="redis://:hunter2@h", port=8123)
    shown = {variable: value for variable, value, _ in settings_in_force(chosen)}
    assert (shown["TASKMASTER_PORT"], shown["TASKMASTER_SECRET_KEY"], shown["DATABASE_URL"]) == ("8123", "(set)", "(set)")
    assert KEY not in str(shown)
    assert "hunter2" not in str(shown)


def test_the_command_line_tells_its_version_and_its_settings() -> None:
    assert CliRunner().invoke(taskmaster, ["--version"]).output == f"taskmaster, version {version('taskmaster')}\n"
    assert CliRunner().invoke(taskmaster, ["settings", "--markdown"]).output == settings_table()
    assert "TASKMASTER_PORT=8200\n" in CliRunner(env={"TASKMASTER_PORT": "8200"}).invoke(taskmaster, ["settings"]).output
