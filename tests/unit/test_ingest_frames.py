import pytest

from marketdata.vendor import CryptoQuote, CryptoTrade, StockQuote, StockTrade
from services.ingest.frames import read_frame

GOOD = b'{"ev":"T","sym":"MARA","p":20.5,"t":1709650800123,"i":"7","s":1}'
COIN = b'{"ev":"XT","pair":"BTC-USD","p":65000.5,"t":1709650800123,"i":8,"s":0.1}'
STATUS = b'{"ev":"status","status":"success","message":"subscribed to: T.MARA"}'


def frame(*elements: bytes) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def test_a_frame_mixes_trades_and_words_of_the_server() -> None:
    found = read_frame(frame(GOOD, STATUS, COIN))
    assert [type(trade) for trade in found.trades] == [StockTrade, CryptoTrade]
    assert [status.message for status in found.statuses] == ["subscribed to: T.MARA"]
    assert (found.bad, found.ignored) == ([], 0)


def test_an_empty_frame_is_no_error() -> None:
    found = read_frame(b"[]")
    assert (found.trades, found.statuses, found.bad, found.ignored) == ([], [], [], 0)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"sym":"MARA","p":20.5}',
        b'{"ev":"NEW","sym":"MARA"}',
        b'{"ev":7}',
        b'{"ev":null}',
        b'{"ev":"T","sym":"MARA","p":"much","t":1,"i":"1"}',
        b'{"ev":"T","sym":"MARA","p":1e999,"t":1,"i":"1"}',
        b'{"ev":"T","sym":"\xff\xfe","p":1,"t":1,"i":"1"}',
        b'{"ev":"\xff"}',
        b"5",
        b"null",
        b'"T"',
        b"[]",
        b'{"ev":"T","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_element_does_not_spoil_the_others(bad: bytes, place: int) -> None:
    elements = [GOOD, COIN]
    elements.insert(place, bad)
    found = read_frame(frame(*elements))
    assert len(found.trades) == 2 or b"[[" in bad, "nesting without end spoils its frame, no more"
    ((reason, raw),) = found.bad
    assert reason
    assert raw in {bad, frame(*elements)}


def test_half_a_surrogate_pair_spoils_only_the_element_it_stands_in() -> None:
    found = read_frame(frame(GOOD, b'{"ev":"T","sym":"\\ud800","p":1,"t":1,"i":"1"}', COIN))
    assert (len(found.trades), len(found.bad)) == (2, 1)


@pytest.mark.parametrize("name", ["Q", "A", "AM", "XQ", "XA", "XAS", "XL2", "LULD"])
def test_channels_that_are_not_read_here_are_counted(name: str) -> None:
    found = read_frame(frame(GOOD, b'{"ev":"%s","sym":"MARA"}' % name.encode(), COIN))
    assert (len(found.trades), found.ignored, found.bad) == (2, 1, [])


@pytest.mark.parametrize(
    "raw", [b"", b"garbage", b"{}", GOOD, b"5", b"null", frame(GOOD)[:-1], b"\xff\xfe\x00", b"[" * 100_000]
)
def test_what_is_no_array_of_events(raw: bytes) -> None:
    found = read_frame(raw)
    ((reason, kept),) = found.bad
    assert reason.startswith("not an array of events")
    assert kept == raw
    assert (found.trades, found.statuses) == ([], [])


QUOTE = b'{"ev":"Q","sym":"MARA","bp":20.1,"bs":200,"ap":20.12,"as":100,"t":1709650800123,"c":0,"i":[604]}'
COIN_QUOTE = b'{"ev":"XQ","pair":"BTC-USD","bp":65000,"bs":0.5,"ap":65001,"as":1,"t":1709650800123,"x":23}'
BAD_QUOTE = b'{"ev":"Q","sym":"MARA","t":"noon"}'


def test_quotes_are_read_where_they_are_wanted() -> None:
    found = read_frame(frame(QUOTE, GOOD, COIN_QUOTE, BAD_QUOTE, b'{"ev":"AM"}'), quotes=True)
    assert [type(quote) for quote in found.quotes] == [StockQuote, CryptoQuote]
    assert (found.quotes[0].as_, len(found.trades), found.ignored) == (100, 1, 1)
    ((reason, raw),) = found.bad
    assert reason.startswith("not a quote: ")
    assert raw == BAD_QUOTE


def test_quotes_are_passed_over_where_they_are_not() -> None:
    found = read_frame(frame(QUOTE, GOOD, COIN_QUOTE, BAD_QUOTE))
    assert (found.quotes, len(found.trades), found.ignored, found.bad) == ([], 1, 3, [])


BANDS = b'{"ev":"LULD","T":"MARA","h":24.2,"l":19.8,"i":[15],"z":3,"t":1794412800000,"q":7}'


def test_price_bands_are_read_where_they_are_wanted() -> None:
    broken = BANDS.replace(b"24.2", b'"up"')
    found = read_frame(frame(GOOD, BANDS, broken, STATUS), luld=True)
    assert (len(found.trades), len(found.statuses), found.ignored) == (1, 1, 0)
    assert [(b.symbol, b.h, b.l, b.i) for b in found.bands] == [("MARA", 24.2, 19.8, (15,))]
    ((reason, raw),) = found.bad
    assert reason.startswith("not a price band: ")
    assert raw == broken
    found = read_frame(frame(GOOD, BANDS, broken))
    assert (len(found.trades), found.ignored, found.bands, found.bad) == (1, 2, [], [])
