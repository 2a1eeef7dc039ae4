import gzip
import json
from pathlib import Path
from typing import Any

from feed.player import Player
from feed.recorder import record
from feed.symbols import DEFAULT_SYMBOLS, symbol_list

START = 1_709_650_800_000
SYMBOLS = symbol_list(list(DEFAULT_SYMBOLS), 50)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = record(tmp_path / "a", SYMBOLS, 7, trades=5000, seconds=5, start_ms=START)
    again = record(tmp_path / "b", SYMBOLS, 7, trades=5000, seconds=5, start_ms=START)
    other = record(tmp_path / "c", SYMBOLS, 8, trades=5000, seconds=5, start_ms=START)
    for cluster in ("stocks", "crypto"):
        assert first[cluster].read_bytes() == again[cluster].read_bytes()
        assert first[cluster].read_bytes() != other[cluster].read_bytes()


def test_a_recording_has_the_trades_asked_for_in_order_of_time(tmp_path: Path) -> None:
    paths = record(tmp_path, SYMBOLS, 7, trades=9001, seconds=7, start_ms=START)
    stocks, crypto = read(paths["stocks"]), read(paths["crypto"])
    assert len(stocks) + len(crypto) == 9001
    assert {event["ev"] for event in stocks} == {"T"}
    assert {event["ev"] for event in crypto} == {"XT"}
    for events in (stocks, crypto):
        times = [event["t"] for event in events]
        assert times == sorted(times)
        assert times[0] >= START
        assert times[-1] < START + 7000
    assert len({(e["sym"], e["x"], e.get("trfi"), e["i"]) for e in stocks}) == len(stocks)


def test_a_recording_can_be_played(tmp_path: Path) -> None:
    paths = record(tmp_path, SYMBOLS, 7, trades=2000, seconds=2, start_ms=START)
    events = Player(list(paths.values()), START).advance(START + 10_000)
    assert len(events) == 2000
    assert all(event.trade is not None for event in events)
