"""The settings of one process. This is the only module that reads the environment."""

import os
import secrets
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=256)]
Seconds = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1024)]

SECRET_LENGTH_AT_LEAST = 32
LOG_NAME = r"^[a-z][a-z0-9_]{0,30}\Z"
"""A log's name is part of its schema's, its locks' and its keys' names."""
SECRET_FIELDS = ("secret_key", "previous_secret_key", "operator_token")
"""Those that a file may hold: `…_FILE` names it."""


class ConfigurationError(Exception):
    """The process cannot start as configured. The message is one line for the operator and names what to
    change.
    """


Limit = Annotated[str, Meta(pattern=r"^(off|\d+/\d+(/\d+)?)?\Z")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can choose; each field's description is what he is told of it (`taskmaster settings`).

    Durations are in seconds, sizes in bytes. `secure_cookies` follows `host` unless it is set: off on loopback, where there is
    no TLS, and on elsewhere.
    """

    database_url: Annotated[
        str, Meta(description="PostgreSQL 15 to 18 as a libpq URL; empty: the embedded server of the data folder")
    ] = ""
    redis_url: Annotated[
        str,
        Meta(description="Redis 6.2 or newer, or Valkey, as `redis://`, `rediss://` or `unix://`; empty: the embedded server"),
    ] = ""
    log_name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,30}\Z", description="Name of the log that is served; its schema is `log_` and the name"
        ),
    ] = "main"
    data_dir: Annotated[
        str, Meta(min_length=1, description="Folder of the embedded servers' data, and of the key that `taskmaster dev` makes")
    ] = ".taskmaster"
    host: Annotated[str, Meta(min_length=1, description="Address that the API listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port that the API listens on; 0: the first free one from 8000")] = 0
    secret_key: Annotated[
        str, Meta(description="Signs access tokens and cursors; at least 32 random characters, the same for every process")
    ] = ""
    previous_secret_key: Annotated[
        str, Meta(description="The key before this one: what it signed stays good while a new key is brought in")
    ] = ""
    operator_token: Annotated[
        str,
        Meta(description="Bearer token that shows the details of `/readyz`; at least 32 random characters; empty: to nobody"),
    ] = ""
    api_processes: Annotated[Count, Meta(description="API processes of one `serve`")] = 1
    worker_processes: Annotated[Count, Meta(description="Worker processes of one `work`")] = 1
    worker_threads: Annotated[Count, Meta(description="Threads of each worker process")] = 4
    worker_cache_bytes: Annotated[
        Bytes, Meta(description="Memory that one worker process spends, roughly, on tasks and events that it may need again")
    ] = 134_217_728
    access_token_seconds: Annotated[Seconds, Meta(description="Life of an access token")] = 900
    refresh_token_seconds: Annotated[Seconds, Meta(description="Life of a session that is not used")] = 2_592_000
    max_body_bytes: Annotated[Bytes, Meta(description="Largest body of a request")] = 262_144
    max_batch_bytes: Annotated[Bytes, Meta(description="Largest body of a batch")] = 8_388_608
    body_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How long a body may take to arrive; then the request is refused (408)")
    ] = 30.0
    body_idle_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="The longest gap within a body; then the request is refused (408)")
    ] = 10.0
    access_log: Annotated[
        bool, Meta(description="Whether every request is logged; unless set only those that are refused or fail")
    ] = False
    compressed_cache_bytes: Annotated[
        Bytes, Meta(description="Memory of one API process for compressed forms of answers that are asked for again")
    ] = 8_388_608
    cors_origins: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[a-zA-Z0-9.\-]+(:[0-9]+)?(,https?://[a-zA-Z0-9.\-]+(:[0-9]+)?)*)?\Z",
            description="Origins whose pages may use the API in a browser, with commas between: `https://app.example.org`",
        ),
    ] = ""
    max_connections: Annotated[
        int, Meta(ge=16, le=1_000_000, description="Connections that one API process holds open; more wait unaccepted")
    ] = 16_384
    max_waiting_requests: Annotated[
        int, Meta(ge=1, description="Requests that may wait for their turn in one API process; more are `overloaded`")
    ] = 10_000
    max_waiting_appends: Annotated[
        int, Meta(ge=16, description="Appends that may wait for the log in one API process, a quarter of them of one workspace")
    ] = 10_000
    max_waiting_append_bytes: Annotated[Bytes, Meta(description="Text in the appends that wait for the log, at most")] = (
        67_108_864
    )
    max_waiting_batch_bytes: Annotated[
        Bytes, Meta(description="Bodies of batches that wait in one API process, half of them of one workspace")
    ] = 67_108_864
    remembered_stream_bytes: Annotated[
        Bytes, Meta(description="Memory of one API process for the streams (tasks, …) that its commands were last decided on")
    ] = 67_108_864
    remembered_boundary_bytes: Annotated[
        Bytes, Meta(description="The same for what commands rest on beside their stream: the rules across streams")
    ] = 33_554_432
    idempotency_seconds: Annotated[
        int, Meta(ge=86_400, description="Life of what is kept for an Idempotency-Key; at least a day")
    ] = 604_800
    max_answer_bytes: Annotated[
        int, Meta(ge=65_536, description="Bytes of the items of one list answer; what does not fit is on the next page")
    ] = 1_048_576
    long_poll_seconds: Annotated[
        float, Meta(ge=0, le=300, description="How long `changes` may wait for news, at the most, when it is asked to")
    ] = 30.0
    wait_seconds: Annotated[
        float, Meta(ge=0, le=300, description="How long a read with `min_position` waits before it answers 503")
    ] = 5.0
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=300,
            description="How long `serve`, told to stop, goes on while `/readyz` answers 503, before it closes its port",
        ),
    ] = 5.0
    drain_file: Annotated[
        str, Meta(description="Set by `serve` for its API processes: once this file exists, they are about to be stopped")
    ] = ""
    secure_cookies: Annotated[
        bool,
        Meta(
            description="Whether cookies are sent over TLS only; unless set: yes, but not where `TASKMASTER_HOST` is loopback"
        ),
    ] = False
    trusted_proxies: Annotated[
        str,
        Meta(description="Networks of the proxies in front, such as `10.0.0.0/8,127.0.0.1`: only they are believed"),
    ] = ""
    proxy_header: Annotated[
        Literal["x-forwarded-for", "forwarded"],
        Meta(description="The header in which those proxies say it; they must replace or extend it, and no other is read"),
    ] = "x-forwarded-for"
    limits: Annotated[
        Literal["standard", "founding", "off"],
        Meta(description="Profile of the limits; each may be set below as `quota/seconds`, `quota/seconds/burst` or `off`"),
    ] = "standard"
    limit_sign_in: Annotated[
        Limit,
        Meta(description="Limit of sign-ins to one account from one address; empty: the profile's"),
    ] = ""
    limit_sign_in_address: Annotated[Limit, Meta(description="Limit of sign-ins from one address; empty: the profile's")] = ""
    limit_anonymous: Annotated[
        Limit,
        Meta(description="Limit of requests without a good token from one address; empty: the profile's"),
    ] = ""
    limit_refresh: Annotated[
        Limit,
        Meta(description="Limit of refreshed tokens from one address; empty: the profile's"),
    ] = ""
    limit_user: Annotated[Limit, Meta(description="Limit of points of one user; empty: the profile's")] = ""
    limit_workspace: Annotated[Limit, Meta(description="Limit of points of one workspace; empty: the profile's")] = ""
    limit_address: Annotated[
        Limit,
        Meta(description="Limit of points of all users of one address; empty: the profile's"),
    ] = ""
    limit_reports: Annotated[Limit, Meta(description="Limit of analytics of one user; empty: the profile's")] = ""
    limit_write_cost: Annotated[int, Meta(ge=1, le=1000, description="Points that a command costs; a read costs 1")] = 2
    limit_batch_items: Annotated[
        int, Meta(ge=1, le=1000, description="Items of a batch for one point; a batch costs at least what a command does")
    ] = 4
    limit_processes: Annotated[
        int,
        Meta(ge=0, le=10_000, description="API processes of all hosts, which share the limits; 0: `TASKMASTER_API_PROCESSES`"),
    ] = 0
    failpoint: Annotated[str, Meta(description="For fault tests alone: where the process ends itself")] = ""

    def __repr__(self) -> str:
        # URLs carry passwords and keys are keys: none may reach a log or a traceback.
        return f"Settings({self.data_dir!r}, {self.host!r}, {self.port}, log={self.log_name!r})"


_UNPREFIXED = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL", "log_name": "TASKMASTER_LOG"}
VARIABLES: Mapping[str, str] = {
    field.name: _UNPREFIXED.get(field.name, f"TASKMASTER_{field.name.upper()}") for field in msgspec.structs.fields(Settings)
}
"""Field name to environment variable."""
DESCRIPTIONS: Mapping[str, str] = {
    name: next((meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description), "")
    for name, hint in get_type_hints(Settings, include_extras=True).items()
}
"""Field name to what an operator is told of it."""
_PREFIX = "TASKMASTER_"
# Read by the tests and benchmarks alone; whoever exports it shall still be able to start the product.
_NOT_OURS = {"TASKMASTER_HISTORIES"}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `environ` (the process's own by default). Unset and empty variables mean the default.

    Raises ConfigurationError naming the variable that is wrong or unknown; it never repeats a secret's value.
    """
    source = os.environ if environ is None else environ
    _refuse_unknown(source)
    chosen: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        variable = VARIABLES[field.name]
        text = _secret_text(source, variable) if field.name in SECRET_FIELDS else source.get(variable, "")
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


def _refuse_unknown(source: Mapping[str, str]) -> None:
    """A misspelt variable would be a setting that silently stays at its default."""
    known = {*VARIABLES.values(), *(f"{VARIABLES[field]}_FILE" for field in SECRET_FIELDS)}
    for variable in sorted(source):
        if variable.startswith(_PREFIX) and variable not in known | _NOT_OURS:
            # Compared without the prefix, which all have, so that it is the rest that counts.
            rests = {name.removeprefix(_PREFIX): name for name in known}
            near = rests[get_close_matches(variable.removeprefix(_PREFIX).upper(), rests, n=1, cutoff=0.0)[0]]
            raise ConfigurationError(f"{variable}: there is no such setting; the nearest is {near}")


def child_environ(settings: Settings, *, secrets: bool = True) -> dict[str, str]:
    """The environment for a child process: this one's, with the settings in place of whatever they were read
    from; without `secrets`, no signing key is in it.
    """
    if not secrets:
        settings = msgspec.structs.replace(settings, **dict.fromkeys(SECRET_FIELDS, ""))
    ours = set(VARIABLES.values()) | {f"{VARIABLES[field]}_FILE" for field in SECRET_FIELDS}
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
        if not kept.parent.is_dir():
            kept.parent.mkdir(parents=True, exist_ok=True)
            # Whatever the umask is: others may pass through to what is theirs, and look at nothing.
            kept.parent.chmod(0o711)
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


def cors_origins(settings: Settings) -> list[str]:
    """The allow-list as browsers write origins: in lower case, without a port that goes without saying."""
    found = [origin.lower().partition("://") for origin in settings.cors_origins.split(",") if origin]
    return [f"{scheme}://{place.removesuffix(':443' if scheme == 'https' else ':80')}" for scheme, _, place in found]


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
