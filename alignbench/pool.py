"""The parent's side of worker processes: start, feed, listen, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from alignbench import worker
from alignbench.worker import Failed, Job, Message


class Worker:
    """One worker process, started with its own session so that Ctrl-C reaches the parent alone."""

    def __init__(self, log: Path, offline: bool, number: int = 0) -> None:
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            self.process = subprocess.Popen(
                worker.command(theirs.fileno()),
                env=worker.environment(offline, number),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        self.log, self.number = log, number
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Give it a job; it must be idle."""
        self.job = job
        with contextlib.suppress(OSError):  # it died: `receive` will say so
            self.connection.send(job)

    def receive(self) -> Message:
        """The next message; a `Failed` that says how it died when it has."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return Failed(self._post_mortem(), user=False)
        return message

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def _post_mortem(self) -> str:
        code = self.process.wait()
        if code >= 0:
            return f"its worker process ended with code {code} (see {self.log} too)"
        name = signal.Signals(-code).name
        hint = "; probably out of memory: use fewer --jobs" if name == "SIGKILL" else ""
        return f"its worker process was killed by {name}{hint}"

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()


class Pool:
    """Workers started when they are first needed, and reused. A context manager that ends them."""

    def __init__(self, logs: Path, offline: bool) -> None:
        self.logs, self.offline = logs, offline
        self.workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self.workers:
            each.kill()

    def start(self, job: Job) -> None:
        """Run `job` on an idle worker, or a new one."""
        for each in list(self.workers):
            if each.job is None and not each.alive:
                self._drop(each)
        idle = next((each for each in self.workers if each.job is None), None)
        if idle is None:
            taken = {each.number for each in self.workers}
            number = next(n for n in range(len(taken) + 1) if n not in taken)
            idle = Worker(self.logs / f"worker_{number}.log", self.offline, number)
            self.workers.append(idle)
        idle.start(job)

    def messages(self, timeout: float) -> Iterator[tuple[Job, Message]]:
        """What busy workers have sent, waiting up to `timeout` seconds for the first."""
        busy = {each.connection: each for each in self.workers if each.job is not None}
        ready: Sequence[object] = wait(list(busy), timeout)
        for connection in ready:
            assert isinstance(connection, Connection)
            sender = busy[connection]
            job, message = sender.job, sender.receive()
            assert job is not None
            if isinstance(message, worker.Done | Failed):
                sender.job = None
                if not sender.alive:
                    self._drop(sender)
            yield job, message

    def _drop(self, dead: Worker) -> None:
        dead.kill()
        self.workers.remove(dead)
