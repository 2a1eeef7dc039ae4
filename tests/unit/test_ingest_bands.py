"""Price bands on their way through ingest and ratio: subscribed on demand, written where they belong, passed on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from marketdata.calendar import new_york_hours
from marketdata.join import JoinSettings, RatioJoin
from marketdata.partition import partition_of
from marketdata.records import Band, Clock, Trade, encode
from marketdata.topics import Topics
from services.ingest.segments import Received
from services.ingest.settings import IngestSettings
from services.ratio.processor import RatioProcessor
from tests.support.bare_live import bare_live
from tests.unit.test_ingest_writer import FakeProducer, P, new_writer, producer

__all__ = ["producer"]
NOW = 1_794_412_800_000_000
BAND = b'{"ev":"LULD","T":"MARA","h":24.2,"l":19.8,"i":[17],"z":3,"t":1794412799000000000,"q":7}'
TRADE = b'{"ev":"T","sym":"MARA","p":20.5,"t":1794412799500,"i":"7","s":1}'


def band(epoch: int = 1) -> Band:
    return Band(symbol="MARA", ts=NOW - 1_000_000, received_ts=NOW, epoch=epoch, limit_up=24.2, limit_down=19.8,
                indicators=(17,), sequence=7, tape=3)  # fmt: skip


def taken(raw: bytes, market: str, *, luld: bool) -> None:
    bare_live(new_writer(), luld=luld)._write(Received(market, NOW, raw))


@pytest.mark.parametrize(("luld", "channels"), [("", "T.A,T.B"), ("true", "T.A,T.B,LULD.A,LULD.B")])
def test_bands_are_subscribed_on_demand(luld: str, channels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LULD", luld)
    settings = IngestSettings(symbols=("A", "B"))
    assert settings.channels("stocks") == tuple(channels.split(","))
    assert settings.channels("crypto") == ("XT.BTC-USD",)


def test_a_band_is_written_to_the_partition_of_its_symbol(producer: FakeProducer) -> None:
    taken(b"[%b,%b]" % (BAND, TRADE), "stocks", luld=True)
    trade, written = producer.written
    place = partition_of("MARA", P)
    assert written == ("t.trades.stocks", encode(band()), "MARA", place, [("kind", b"band")])
    assert trade[4] == [("kind", b"trade")]


def test_without_the_setting_nothing_of_it_is_written(producer: FakeProducer) -> None:
    taken(b"[%b,%b]" % (BAND, TRADE), "stocks", luld=False)
    assert [headers for *_, headers in producer.written] == [[("kind", b"trade")]]


@pytest.mark.parametrize(
    ("raw", "market", "why"),
    [
        (BAND.replace(b"24.2", b"-1"), "stocks", "bands 19.8 to -1.0"),
        (BAND.replace(b"1794412799000000000", b"17"), "stocks", "time 17 is neither"),
        (BAND.replace(b"[17]", b'"x"'), "stocks", "not a price band"),
        (BAND, "crypto", "LuldBand on the crypto cluster"),
    ],
)
def test_what_is_no_band_becomes_a_dead_letter(producer: FakeProducer, raw: bytes, market: str, why: str) -> None:
    taken(b"[%b]" % raw, market, luld=True)
    ((topic, value, *_),) = producer.written
    letter = msgspec.json.decode(value)
    assert topic == "t.ingest.dlq"
    assert letter["reason"].startswith(why)


class Emitter:
    def __init__(self) -> None:
        self.emitted: list[Any] = []

    def wants(self, _topic: str, _src: Any) -> bool:
        return True

    def emit(self, topic: str, key: bytes | None, value: bytes, headers: Any = None) -> None:
        self.emitted.append((topic, key, msgspec.json.decode(value), headers))


def test_ratio_passes_a_band_on_with_its_place_and_none_of_an_older_epoch() -> None:
    emitter: Any = Emitter()
    processor = RatioProcessor(4, emitter, Topics(""), RatioJoin("BTC-USD", new_york_hours(), JoinSettings()), None)
    log = [band(2), band(1), Clock(ts=NOW, epoch=1), band(3), Clock(ts=NOW, epoch=2), Clock(ts=NOW, epoch=3)]
    for offset, record in enumerate(log):
        processor.process(offset, encode(record), NOW)
    bands = [(key, r["src"], r["epoch"], headers) for _, key, r, headers in emitter.emitted if r["kind"] == "band"]
    assert bands == [(b"MARA", [4, 0, 0], 2, [("kind", b"band")]), (b"MARA", [4, 3, 0], 3, [("kind", b"band")])]
    assert emitter.emitted[0][2]["limit_up"] == 24.2
    assert [r["src"] for _, _, r, _ in emitter.emitted if r["kind"] == "clock"] == [[4, 5, 0]], "epoch 3 has begun"


def test_a_band_changes_nothing_of_the_trades_beside_it() -> None:
    trade = Trade(symbol="MARA", ts=NOW, received_ts=NOW, price=20.5, size=1.0, exchange=4, id="7", epoch=1)
    found = []
    for log in ([trade, Clock(ts=NOW, epoch=1)], [trade, band(), Clock(ts=NOW, epoch=1)]):
        emitter: Any = Emitter()
        processor = RatioProcessor(
            0, emitter, Topics(""), RatioJoin("BTC-USD", new_york_hours(), JoinSettings()), None
        )
        for offset, record in enumerate(log):
            processor.process(offset, encode(record), NOW)
        found.append([r | {"src": 0} for _, _, r, _ in emitter.emitted if r["kind"] != "band"])
    assert found[0] == found[1]
