import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from feed.events import CryptoTrade, StockTrade
from feed.player import Player, PlayError

NOW = 1_800_000_000_000
DAY = 86_400_000
OLD = 1_514_887_281_479
Record = dict[str, Any]


def stock(t: int, **fields: Any) -> Record:
    return {"ev": "T", "sym": "XXX", "x": 11, "i": "1", "z": 1, "p": 157.8, "s": 2, "t": t, "q": 1, **fields}


def crypto(t: int, **fields: Any) -> Record:
    return {
        "ev": "XT",
        "pair": "BTC-USD",
        "p": 9.5,
        "t": t,
        "s": 0.5,
        "c": [1],
        "i": 7,
        "x": 23,
        "r": t + 40,
        **fields,
    }


def write(path: Path, *records: Record) -> Path:
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def test_times_are_shifted_so_that_the_first_event_is_now(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", stock(OLD, trfi=201, trft=OLD - 5, pt=OLD - 6), stock(OLD + 1500))
    player = Player([path], NOW)
    assert player.advance(NOW - 1) == []
    (first,) = player.advance(NOW)
    assert first.send_ms == NOW
    assert first.payload == stock(NOW, trfi=201, trft=NOW - 5, pt=NOW - 6)
    assert player.advance(NOW + 1499) == []
    assert [event.payload for event in player.advance(NOW + 1500)] == [stock(NOW + 1500)]
    assert player.advance(NOW + DAY) == []


def test_speed_shrinks_distances_and_event_times_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", stock(OLD), stock(OLD + 1000))
    events = Player([path], NOW, speed=10).advance(NOW + 100)
    assert [event.payload["t"] for event in events if isinstance(event.payload, dict)] == [NOW, NOW + 100]


def test_files_of_one_day_keep_their_distance(tmp_path: Path) -> None:
    stocks = write(tmp_path / "s.jsonl", stock(OLD + 30), stock(OLD + 40))
    coins = write(tmp_path / "c.jsonl", crypto(OLD), crypto(OLD + 35))
    events = Player([stocks, coins], NOW).advance(NOW + 100)
    assert [(event.ev, event.send_ms - NOW) for event in events] == [("XT", 0), ("T", 30), ("XT", 35), ("T", 40)]


def test_files_of_different_days_are_played_side_by_side(tmp_path: Path) -> None:
    stocks = write(tmp_path / "s.jsonl", stock(OLD), stock(OLD + 40))
    coins = write(tmp_path / "c.jsonl", crypto(OLD + 500 * DAY), crypto(OLD + 500 * DAY + 35))
    events = Player([stocks, coins], NOW).advance(NOW + 100)
    assert [(event.ev, event.send_ms - NOW) for event in events] == [("T", 0), ("XT", 0), ("XT", 35), ("T", 40)]


def test_private_fields_stay_private_and_corrections_are_kept_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", stock(OLD, _corr=8, _note="x"), stock(OLD + 1, _corr=10))
    first, second = Player([path], NOW).advance(NOW + 1)
    assert first.payload == stock(NOW)
    assert (first.correction, second.correction) == (8, 10)


def test_trades_are_understood_and_other_kinds_passed_through(tmp_path: Path) -> None:
    quote = {"ev": "Q", "sym": "XXX", "bp": 1.0, "s": 5, "t": OLD + 1}
    bar = {"ev": "AM", "sym": "XXX", "o": 1.0, "z": 12.0, "s": OLD - 60_000, "e": OLD + 2}
    path = write(tmp_path / "a.jsonl", stock(OLD, c=[37]), quote, bar, crypto(OLD + 3))
    trade, quoted, barred, coin = Player([path], NOW).advance(NOW + 10)
    assert trade.trade == StockTrade("XXX", 11, "1", 1, 157.8, 2, NOW, 1, (37,))
    assert coin.trade == CryptoTrade("BTC-USD", 9.5, NOW + 3, 0.5, "7", 23, (1,), NOW + 43)
    assert isinstance(coin.payload, dict)
    assert coin.payload["i"] == 7, "the wire keeps the id as it was recorded"
    assert quoted.trade is barred.trade is None
    assert quoted.payload == {**quote, "t": NOW + 1}
    assert barred.payload == {**bar, "s": NOW - 60_000, "e": NOW + 2}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", r"bad.jsonl:2: not JSON"),
        ("[]", r"bad.jsonl:2: not an event"),
        ('{"ev":"ZZ","t":1}', r"bad.jsonl:2: not an event"),
        ('{"ev":"T","sym":"A"}', r"bad.jsonl:2: the event has no time"),
        (json.dumps({"ev": "T", "sym": "A", "t": OLD}), r"bad.jsonl: .*missing required field"),
    ],
)
def test_a_broken_recording_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "bad.jsonl", stock(OLD))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(PlayError, match=reason):
        Player([path], NOW).advance(NOW + DAY)


def test_missing_empty_and_cut_off_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(PlayError, match="cannot read"):
        Player([tmp_path / "none.jsonl"], NOW)
    with pytest.raises(PlayError, match="no events"):
        Player([write(tmp_path / "empty.jsonl")], NOW)
    whole = write(tmp_path / "whole.jsonl.gz", *[stock(OLD + n, p=n * 1.37) for n in range(500)])
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(PlayError, match="cannot read"):
        Player([cut], NOW).advance(NOW + DAY)
    with pytest.raises(PlayError, match="speed"):
        Player([whole], NOW, speed=0)
