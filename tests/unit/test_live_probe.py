"""/live says whether a restart would help; /health whether there is progress. The one must not follow the other."""

import urllib.error
import urllib.request

from streaming.ops import Health, OpsServer, Pulse


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_never_began_to_turn_is_not_dead_and_one_that_stopped_is() -> None:
    clock = Clock()
    pulse = Pulse(60, clock)
    clock.now = 1_000
    assert pulse.check()[0]
    pulse.beat()
    clock.now = 1_059
    assert pulse.check() == (True, {"seconds_since_turn": 59})
    clock.now = 1_060
    assert not pulse.check()[0]


def test_without_progress_the_process_still_lives() -> None:
    clock, health = Clock(), Health()
    pulse = Pulse(60, clock)
    health.add("progress", lambda: (False, "Kafka is away"))
    health.add_life("loop", pulse.check)
    ops = OpsServer(health, "127.0.0.1", 0).start()
    try:
        pulse.beat()
        assert (_status(ops, "health"), _status(ops, "live")) == (503, 200)
        clock.now = 61
        assert _status(ops, "live") == 503
    finally:
        ops.stop()


def _status(ops: OpsServer, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ops.port}/{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
