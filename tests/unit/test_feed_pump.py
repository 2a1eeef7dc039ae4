from feed.events import Event, StockTrade
from feed.faults import NoFaults
from feed.history import History
from feed.hub import Hub
from feed.ledger import Ledger
from feed.pump import MAX_TICK_MS, Pump


class Recorder:
    """A market that notes how far it was advanced, one trade each time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def advance(self, to_ms: int) -> list[Event]:
        self.asked.append(to_ms)
        trade = StockTrade("MARA", 12, str(len(self.asked)), 3, 20.5, 100, to_ms, 1)
        quote = Event(to_ms, "Q", "MARA", {"ev": "Q", "sym": "MARA", "t": to_ms}, None)
        return [Event(to_ms, "T", "MARA", trade, trade), quote]


def test_a_late_pump_catches_up_in_small_steps() -> None:
    now = [1000]
    market = Recorder()
    pump = Pump(market, Hub(NoFaults()), History(10**9, 1000), Ledger(), now_ms=lambda: now[0])
    pump.tick()
    now[0] += 10
    pump.tick()
    assert (market.asked, pump.behind_ms) == ([1000, 1010], 0)
    now[0] += 2 * MAX_TICK_MS + 5
    behind = []
    for _ in range(4):
        pump.tick()
        behind.append(pump.behind_ms)
    assert behind == [MAX_TICK_MS + 5, 5, 0, 0]
    assert market.asked[2:] == [1060, 1110, 1115, 1115]


def test_trades_and_only_trades_are_accounted_for() -> None:
    history, ledger = History(10**9, 1000), Ledger()
    pump = Pump(Recorder(), Hub(NoFaults()), history, ledger, now_ms=lambda: 1000)
    for _ in range(3):
        pump.tick()
    assert ledger.total == history.size == 3
