from collections.abc import Iterator

import pytest

from marketdata.recording import HOUR_MS, UNTIL_END, Placement, RecordingSpec, SpecError, parse_spec
from marketdata.vendor import CryptoTrade, StockTrade, VendorTrade

MIDNIGHT = 1_514_851_200_000  # 2018-01-02 00:00 UTC


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a.jsonl.gz", RecordingSpec("a.jsonl.gz")),
        ("/d/a.jsonl*3", RecordingSpec("/d/a.jsonl", laps=3)),
        ("a.jsonl*end", RecordingSpec("a.jsonl", laps=UNTIL_END)),
        ("a@2018-01-02T14:30:00Z", RecordingSpec("a", MIDNIGHT + 14 * HOUR_MS + HOUR_MS // 2)),
        ("a@2018-01-02T14:30:00", RecordingSpec("a", MIDNIGHT + 14 * HOUR_MS + HOUR_MS // 2)),
        ("a@2018-01-02 15:30+01:00*2", RecordingSpec("a", MIDNIGHT + 14 * HOUR_MS + HOUR_MS // 2, 2)),
        ("a@2018-01-02T00:00:00.250Z*end", RecordingSpec("a", MIDNIGHT + 250, UNTIL_END)),
        ("me@home/a.jsonl@2018-01-02T00:00Z", RecordingSpec("me@home/a.jsonl", MIDNIGHT)),
        ("me@home/a*b.jsonl", RecordingSpec("me@home/a*b.jsonl")),
    ],
)
def test_specifications(text: str, spec: RecordingSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize("text", ["", "a*0", "a@2018-13-02T00:00Z", "a@2018-01-02T25:00Z", "a@2018-01-02Tnoon*2"])
def test_what_is_no_specification(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert "2018-01-02T14:30:00Z" in str(caught.value), "the form is shown"


@pytest.mark.parametrize(
    ("first", "last", "start", "shift", "length"),
    [
        (MIDNIGHT, MIDNIGHT + 1, None, 0, HOUR_MS),
        (MIDNIGHT + 5, MIDNIGHT + HOUR_MS - 1, None, 0, HOUR_MS),
        (MIDNIGHT + 5, MIDNIGHT + HOUR_MS + 1, None, 0, 2 * HOUR_MS),
        (MIDNIGHT + HOUR_MS - 1, MIDNIGHT + HOUR_MS + 1, None, 0, 2 * HOUR_MS),
        (MIDNIGHT + 5, MIDNIGHT + 9, MIDNIGHT + HOUR_MS // 2, HOUR_MS // 2, HOUR_MS),
        (MIDNIGHT + HOUR_MS + 5, MIDNIGHT + 3 * HOUR_MS - 5, MIDNIGHT, -HOUR_MS, 2 * HOUR_MS),
    ],
)
def test_placement(first: int, last: int, start: int | None, shift: int, length: int) -> None:
    assert Placement.of(RecordingSpec("a", start), first, last) == Placement(shift, length)


def events() -> Iterator[VendorTrade]:
    yield StockTrade("A", 1.0, MIDNIGHT + 5, "s1", trft=MIDNIGHT + 3)
    yield StockTrade("A", 1.0, MIDNIGHT + 6, 17)
    yield CryptoTrade("BTC-USD", 1.0, MIDNIGHT + 7, 0.1, 8)
    yield CryptoTrade("BTC-USD", 1.0, MIDNIGHT + 8, 0.1)


def test_the_first_lap_is_only_moved() -> None:
    assert list(Placement(0, HOUR_MS).lap(events(), 0)) == list(events())
    moved = list(Placement(500, HOUR_MS).lap(events(), 0))
    assert [event.t - MIDNIGHT for event in moved] == [505, 506, 507, 508]
    assert [event.i for event in moved] == ["s1", 17, 8, ""]
    assert [event.trft for event in moved if isinstance(event, StockTrade)] == [MIDNIGHT + 503, 0]


def test_later_laps_have_ids_of_their_own() -> None:
    moved = list(Placement(500, HOUR_MS).lap(events(), 2))
    assert [event.t - MIDNIGHT - 2 * HOUR_MS for event in moved] == [505, 506, 507, 508]
    assert [event.i for event in moved] == ["s1-2", "17-2", "8-2", ""], "what had no id gets none"
    assert [event.trft for event in moved if isinstance(event, StockTrade)] == [MIDNIGHT + 503 + 2 * HOUR_MS, 0]
