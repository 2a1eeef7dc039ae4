"""One PostgreSQL server as a child process on loopback, its data kept in a directory."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import structlog

from market.native.pgbin import Binaries, find_binaries
from market.native.ports import LOOPBACK, choose_port
from market.native.process import READY_S, Account, Child, NativeError, alive
from market.native.unprivileged import reachable_binaries, reachable_data_dir, server_account

USUAL_PORT = 5432
DATABASE = "market"
SUPERUSER = "postgres"
_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_log = structlog.get_logger(__name__)


class PostgresServer:
    """A PostgreSQL whose data lives in `data_dir`; starting again on the same directory keeps the data.

    `port` None takes 5432 if it is free and any other port if not. `settings` are added to the server's own;
    `durable` False turns fsync off (for tests: a crash of the machine would lose data, one of the server not).
    Where root runs us and the server's account cannot reach `data_dir`, that attribute names the place used instead
    once started.
    """

    def __init__(
        self,
        data_dir: Path | str,
        port: int | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._wanted = port
        self.port = port or 0
        self._settings = {**({} if durable else _NOT_DURABLE), **(settings or {})}
        self.child: Child | None = None
        self.binaries: Binaries | None = None

    @property
    def dsn(self) -> str:
        """The URL of the database `market`; known once started."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """The URL of another database of this server."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        return self.child is not None and self.child.running

    def start(self, timeout: float = READY_S) -> None:
        """Start, wait (seconds) until it takes connections, and create the database `market` the first time.

        Raises NativeError, with the end of the server's log, if it ends or is not ready in time.
        """
        if self.running:
            return
        began = time.monotonic()
        account = server_account()
        self.data_dir = reachable_data_dir(self.data_dir, account)
        self.binaries = reachable_binaries(find_binaries(self._data_major()), account)
        self._wait_for_predecessor()
        if self._data_major() is None:
            self._initialise(self.binaries, account)
        for attempt in range(3):
            try:
                self._start_once(self.binaries, account, timeout)
                break
            except NativeError:
                # Between our look at the port and the server's bind somebody else may have taken it.
                taken = self.child is not None and "Address already in use" in self.child.output()
                self.kill()
                if not taken or self._wanted is not None or attempt == 2:
                    raise
        self._create_database()
        _log.info(
            "postgres is ready",
            dsn=self.dsn,
            version=self.binaries.major,
            embedded=self.binaries.embedded,
            seconds=round(time.monotonic() - began, 1),
        )

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", timeout: float = 20.0) -> None:
        """Shut down in one of PostgreSQL's own modes; killed if that takes longer than `timeout` seconds."""
        if self.child is not None:
            self.child.stop(_STOP_SIGNALS[mode], timeout)
            self.child = None

    def kill(self) -> None:
        """Kill -9 the server and all its backends, as in a crash."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def pause(self) -> None:
        """Freeze the server and its backends: connections stay open and nothing answers."""
        if self.child is not None:
            self.child.pause()

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self.child is not None:
            self.child.resume()

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "cluster"

    def _data_major(self) -> int | None:
        try:
            return int((self._cluster / "PG_VERSION").read_text())
        except (OSError, ValueError):
            return None

    def _initialise(self, binaries: Binaries, account: Account | None) -> None:
        """Run initdb beside the final place, then rename: an interrupted start leaves no half cluster."""
        half = self.data_dir / "cluster.new"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        if account is not None:
            os.chown(half, account.uid, account.gid)
        command = [str(binaries.directory / "initdb"), "-D", str(half), "-U", SUPERUSER, "-E", "UTF8"]
        command += ["--locale=C", "--auth=trust"]  # the pg_hba.conf it writes lets in loopback only
        command += ["--no-sync"] if self._settings.get("fsync") == "off" else []
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            raise NativeError(f"postgres: initdb failed in {half}:\n{done.stdout[-2000:]}")
        half.rename(self._cluster)

    def _start_once(self, binaries: Binaries, account: Account | None, timeout: float) -> None:
        # A second start prefers the port of the first, so that clients which outlive a crash find it again.
        self.port = choose_port(self._wanted or self.port or USUAL_PORT)
        if self._wanted not in (None, self.port):
            raise NativeError(f"postgres: port {self._wanted} on {LOOPBACK} is taken; free it or name another")
        settings = {
            "port": str(self.port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            **({"shared_preload_libraries": "timescaledb"} if binaries.has_timescale() else {}),
            **self._settings,
        }
        command: list[str | Path] = [binaries.directory / "postgres", "-D", self._cluster]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.child = Child.start(
            "postgres",
            command,
            self.data_dir / "postgres.log",
            cwd=Path("/"),
            account=account,
            death_signal=signal.SIGINT,  # a fast shutdown: it ends the backends too, where kill -9 would leave them
        )
        self.child.wait_until(self._connects, timeout)

    def _connects(self) -> bool:
        try:
            psycopg.connect(self.dsn_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self.dsn_of("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')

    def _wait_for_predecessor(self, seconds: float = 15.0) -> None:
        """A server whose parent was just killed may still be shutting down on this directory."""
        deadline = time.monotonic() + seconds
        while (pid := self._recorded_pid()) is not None:
            if time.monotonic() > deadline:
                raise NativeError(f"postgres: another server (pid {pid}) is running on {self.data_dir}; stop it")
            time.sleep(0.1)

    def _recorded_pid(self) -> int | None:
        """The pid in the cluster's lock file, if a PostgreSQL has it now."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            return pid if process.name().startswith("postgres") and alive(process) else None
        except (OSError, ValueError, psutil.Error):
            return None
