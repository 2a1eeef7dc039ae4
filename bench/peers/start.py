"""How a contender is started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.context import Bench
from bench.peers.contenders import Contender
from bench.peers.environments import command_of
from bench.peers.job import Job
from bench.service import running
from market.native import Child


@contextlib.contextmanager
def started(job: Job, contender: Contender, bench: Bench, output: str, group: str) -> Iterator[Child]:
    """Run it over the job's source until the end of the block; a peer writes to ``output`` and reads as ``group``."""
    if contender.settings is not None:
        with running(bench, job.service, **contender.settings) as service:
            yield service.child
        return
    environment = {
        "BOOTSTRAP": bench.servers.bootstrap, "SOURCE": f"{bench.namespace}{job.source}", "OUTPUT": output,
        "GROUP": group, "PARTITIONS": str(bench.broker.partitions), "PYTHONPATH": "", "VIRTUAL_ENV": "",
    }  # fmt: skip
    folder = bench.directory / group  # some leave files where they run
    folder.mkdir()
    command = command_of(contender.name, job.program)
    child = Child.start(contender.name, command, folder / "log", env=environment, cwd=folder)
    try:
        yield child
    finally:
        child.stop()
