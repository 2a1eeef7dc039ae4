import json
from pathlib import Path

from feed.events import CryptoTrade, StockTrade
from feed.ledger import Ledger

PRINT = StockTrade("MARA", 4, "1", 3, 20.5, 100, 1000, 5, trfi=202, trft=998)
COIN = CryptoTrade("BTC-USD", 65_000.5, 1001, 0.25, "9", 23)


def test_counts_by_symbol_and_in_all() -> None:
    ledger = Ledger()
    for trade in (PRINT, PRINT, COIN):
        ledger.add(trade)
    ledger.add(PRINT, 10)
    assert ledger.summary() == {"stocks": {"MARA": 2}, "crypto": {"BTC-USD": 1}, "total": 3, "corrections": 1}


def test_file_holds_each_trade_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    for trade, correction in ((PRINT, 0), (COIN, 0), (PRINT, 10)):
        ledger = Ledger(path)
        ledger.add(trade, correction)
        ledger.close()
    stock = {"cluster": "stocks", "symbol": "MARA", "exchange": 4, "trf": 202, "id": "1", "ts": 1000}
    stock |= {"price": 20.5, "size": 100, "sequence": 5}
    coin = {"cluster": "crypto", "symbol": "BTC-USD", "exchange": 23, "trf": None, "id": "9", "ts": 1001}
    coin |= {"price": 65_000.5, "size": 0.25}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [stock, coin, {**stock, "correction": 10}]


def test_lines_are_in_the_file_after_a_flush(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add(PRINT)
    assert (tmp_path / "ledger.jsonl").read_text() == ""
    ledger.flush()
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 1
    ledger.close()
