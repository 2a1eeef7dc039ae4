"""Child processes that leave nothing behind: own process group, log file, death with the parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if _LINUX else None  # loaded now: after a fork is no time to load it
# Linux sends the death signal when the *thread* that forked ends, so all children are forked by one thread that
# lives as long as the interpreter, and a server may be started from any short-lived one.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")
_MAX_LOG_BYTES = 20_000_000
READY_S = 180.0
"""A server is ready in 2 to 10 s, on a busy machine in a minute and more; one that ends is seen at once."""


class NativeError(RuntimeError):
    """A server or tool that could not be started or used; the message names it and says what to do or look at."""


@dataclass(frozen=True)
class Account:
    """The operating system's user under which a child runs."""

    name: str
    uid: int
    gid: int


def _die_with_parent(parent: int, death_signal: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and was not yet collected by its parent (a zombie) does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def log_tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file, or a note that there is none."""
    try:
        text = log.read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _open_log(log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
        log.replace(log.with_suffix(log.suffix + ".1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


@dataclass
class Child:
    """One started process, its output in `log`.

    On Linux it gets `death_signal` when this process ends in whatever way, kill -9 included.
    """

    name: str
    log: Path
    popen: "subprocess.Popen[bytes]"
    _log_start: int = field(default=0, repr=False)

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        death_signal: int = signal.SIGTERM,
    ) -> "Child":
        """Start a command; `env` is added to this process's own. Raises NativeError if it cannot be executed."""
        output = _open_log(log)
        log_start = os.fstat(output).st_size

        def fork() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,  # Ctrl-C in the terminal reaches the parent, who stops children in order
                # Unsafe where it takes a lock that another thread held at the fork: this one only calls prctl.
                preexec_fn=_die_with_parent(os.getpid(), death_signal),  # noqa: PLW1509
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

        try:
            return cls(name, log, _forker.submit(fork).result(), log_start)
        except OSError as error:
            raise NativeError(f"{name}: cannot execute {command[0]}: {error}") from error
        finally:
            os.close(output)

    @property
    def pid(self) -> int:
        """The process id; that of its group as well."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether the process is still there (a paused one is)."""
        return self.popen.poll() is None

    def output(self) -> str:
        """What this run has written to its log, without what earlier runs left there."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def died(self) -> NativeError:
        """The error to raise when it ended by itself, with the end of its log."""
        return NativeError(
            f"{self.name} ended with code {self.popen.poll()}; the end of {self.log}:\n{log_tail(self.log)}"
        )

    def wait_until(self, ready: Callable[[], bool], timeout: float, pause: float = 0.03) -> None:
        """Ask `ready` again and again; NativeError if the process ends first or the time (seconds) is up."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise self.died()
            if time.monotonic() > deadline:
                raise NativeError(
                    f"{self.name} is not ready after {timeout:.0f} s; the end of {self.log}:\n{log_tail(self.log)}"
                )
            time.sleep(pause)

    def stop(self, stop_signal: int = signal.SIGTERM, timeout: float = 15.0) -> None:
        """Ask it to end, wait, and kill it with all its children if it has not ended in time (seconds)."""
        if not self.running:
            return
        self.resume()
        self.popen.send_signal(stop_signal)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill -9, the children it has started included; returns when all are gone."""
        doomed = [process for process in self._family() if process.pid != self.pid]
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait()
        deadline = time.monotonic() + 10
        while any(alive(process) for process in doomed) and time.monotonic() < deadline:
            time.sleep(0.01)

    def pause(self) -> None:
        """SIGSTOP the process and its children: alive, their sockets open, but not answering."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`; harmless on one that is not paused."""
        self._signal_family(signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        # Servers may put their children into groups of their own (PostgreSQL does): a group is not enough.
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal_family(self, number: int) -> None:
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
