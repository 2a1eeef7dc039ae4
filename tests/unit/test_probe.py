"""The health check of a container says by its exit status what /health answers."""

import os
import subprocess
import sys

from streaming.ops import Health, OpsServer
from streaming.probe import probe


def test_what_a_container_engine_sees() -> None:
    healthy = [True]
    health = Health()
    health.add("probed", lambda: (healthy[0], "stands still"))
    server = OpsServer(health, "127.0.0.1", 0).start()
    try:
        assert run_probe(server.port) == (0, "ok\n")
        healthy[0] = False
        status, said = run_probe(server.port)
        assert status == 1
        assert "503" in said
        assert "stands still" in said
    finally:
        server.stop()
    assert "does not answer" in str(probe(f"http://127.0.0.1:{server.port}/health"))


def run_probe(port: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "streaming.probe"],
        env={**os.environ, "METRICS_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
