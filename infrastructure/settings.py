"""The settings of one process. This is the only module that reads the environment."""

import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=256)]
Seconds = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1024)]

SECRET_LENGTH_AT_LEAST = 32
_SECRET_FIELDS = ("secret_key", "previous_secret_key")


class ConfigurationError(Exception):
    """The process cannot start as configured. The message is one line for the operator and names what to
    change.
    """


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can choose. Empty URLs mean the embedded servers; durations are in seconds.

    `port` 0 is the first free one from 8000. `secure_cookies` follows `host` unless it is set: off on
    loopback, where there is no TLS, and on elsewhere. `failpoint` is for fault tests alone: see `failpoints`.
    """

    database_url: str = ""
    redis_url: str = ""
    data_dir: Annotated[str, Meta(min_length=1)] = ".taskmaster"
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    secret_key: str = ""
    previous_secret_key: str = ""
    log_name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,30}\Z")] = "main"
    api_processes: Count = 1
    worker_processes: Count = 1
    worker_threads: Count = 4
    access_token_seconds: Seconds = 900
    refresh_token_seconds: Seconds = 2_592_000
    max_body_bytes: Bytes = 262_144
    max_batch_bytes: Bytes = 8_388_608
    wait_seconds: Annotated[float, Meta(ge=0, le=300)] = 5.0
    secure_cookies: bool = False
    failpoint: str = ""

    def __repr__(self) -> str:
        # URLs carry passwords and keys are keys: none may reach a log or a traceback.
        return f"Settings({self.data_dir!r}, {self.host!r}, {self.port}, log={self.log_name!r})"


_UNPREFIXED = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL", "log_name": "TASKMASTER_LOG"}
VARIABLES: Mapping[str, str] = {
    field.name: _UNPREFIXED.get(field.name, f"TASKMASTER_{field.name.upper()}") for field in msgspec.structs.fields(Settings)
}
"""Field name to environment variable."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `environ` (the process's own by default). Unset and empty variables mean the default.

    Raises ConfigurationError naming the variable that is wrong; it never repeats a secret's value.
    """
    source = os.environ if environ is None else environ
    chosen: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        variable = VARIABLES[field.name]
        text = _secret_text(source, variable) if field.name in _SECRET_FIELDS else source.get(variable, "")
        if not text:
            continue
        try:
            chosen[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{variable}: {error}") from None
    if "secure_cookies" not in chosen:
        chosen["secure_cookies"] = not is_loopback(str(chosen.get("host", "127.0.0.1")))
    return Settings(**chosen)  # type: ignore[arg-type]  # each value was converted to its field's type above


def settings_environ(settings: Settings) -> dict[str, str]:
    """The variables from which `load_settings` makes the same settings again."""
    return {variable: _text(getattr(settings, field)) for field, variable in VARIABLES.items()}


def child_environ(settings: Settings) -> dict[str, str]:
    """The environment for a child process: this one's, with the settings in place of whatever they were read
    from.
    """
    ours = set(VARIABLES.values()) | {f"{VARIABLES[field]}_FILE" for field in _SECRET_FIELDS}
    inherited = {variable: text for variable, text in os.environ.items() if variable not in ours}
    return inherited | settings_environ(settings)


def with_kept_secret(settings: Settings) -> Settings:
    """The settings with a secret key: the configured one, or one that is made once and kept in the data
    folder.
    """
    if settings.secret_key:
        return settings
    kept = Path(settings.data_dir) / "secret_key"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Linking a finished file into place lets two first starts at once agree on one key, never on half of
        # one.
        draft = kept.with_name(f"secret_key.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            kept.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return msgspec.structs.replace(settings, secret_key=_read_secret("TASKMASTER_SECRET_KEY", kept))
    except OSError as error:
        raise ConfigurationError(f"TASKMASTER_DATA_DIR: cannot keep {kept}: {error.strerror}") from None


def require_secret(settings: Settings) -> Settings:
    """The settings unchanged, or ConfigurationError when no secret key is configured."""
    if not settings.secret_key:
        raise ConfigurationError("TASKMASTER_SECRET_KEY is required: at least 32 random characters, the same for every process")
    return settings


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secret_text(source: Mapping[str, str], variable: str) -> str:
    text, file = source.get(variable, ""), source.get(f"{variable}_FILE", "")
    if text and file:
        raise ConfigurationError(f"{variable} and {variable}_FILE are both set: set one of them")
    if file:
        return _read_secret(f"{variable}_FILE", Path(file))
    return _long_enough(variable, text) if text else ""


def _read_secret(variable: str, file: Path) -> str:
    try:
        return _long_enough(variable, file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{variable}: cannot read {file}: {reason}") from None


def _long_enough(variable: str, text: str) -> str:
    if len(text) < SECRET_LENGTH_AT_LEAST:
        raise ConfigurationError(f"{variable}: it needs at least {SECRET_LENGTH_AT_LEAST} characters")
    return text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
