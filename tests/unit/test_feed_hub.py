import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

from hypothesis import given
from hypothesis import strategies as st

from feed.client import BYTES_A_FRAME, EVENTS_A_FRAME, Client
from feed.events import CryptoTrade, Event, StockTrade
from feed.faults import CloseConnection, NoFaults
from feed.hub import Hub


class Listener(Client):
    """A client that keeps what it is sent instead of writing it to a socket."""

    def __init__(self, cluster: str, *items: str) -> None:
        super().__init__(MagicMock(), cluster, 10**9, 1.0)
        self.subscriptions.add(list(items))
        self.frames: list[bytes] = []

    def send_frame(self, data: bytes) -> bool:
        self.frames.append(data)
        return True

    def ids(self) -> list[str]:
        return [event["i"] for data in self.frames for event in json.loads(data)]


def stock(symbol: str, number: int, correction: int = 0) -> Event:
    trade = StockTrade(symbol, 12, str(number), 3, 20.5, 100, 1000, number)
    return Event(1000, "T", symbol, trade, trade, correction)


def coin(number: int) -> Event:
    trade = CryptoTrade("BTC-USD", 65_000.5, 1000, 0.25, str(number), 23)
    return Event(1000, "XT", "BTC-USD", trade, trade)


def hub_of(*clients: Client, faults: NoFaults | None = None) -> Hub:
    hub = Hub(faults or NoFaults())
    for client in clients:
        hub.add(client)
    return hub


def test_each_client_gets_what_it_asked_for_in_one_frame() -> None:
    mara, everything, both = (
        Listener("stocks", "T.MARA"),
        Listener("stocks", "T.*"),
        Listener("stocks", "T.*", "T.MARA"),
    )
    quotes, crypto = Listener("stocks", "Q.*"), Listener("crypto", "XT.*")
    hub_of(mara, everything, both, quotes, crypto).publish([stock("MARA", 1), coin(2), stock("RIOT", 3)])
    assert mara.ids() == ["1"]
    assert everything.ids() == both.ids() == ["1", "3"]
    assert crypto.ids() == ["2"]
    assert quotes.frames == []
    assert len(everything.frames) == 1


def test_changed_subscriptions_count_from_the_next_event() -> None:
    client = Listener("stocks", "T.MARA")
    hub = hub_of(client)
    hub.publish([stock("MARA", 1), stock("RIOT", 2)])
    client.subscriptions.add(["T.RIOT"])
    client.subscriptions.remove(["T.MARA"])
    hub.subscriptions_changed()
    hub.publish([stock("MARA", 3), stock("RIOT", 4)])
    hub.remove(client)
    hub.publish([stock("RIOT", 5)])
    assert client.ids() == ["1", "4"]


def test_correction_records_never_go_out() -> None:
    client = Listener("stocks", "T.*")
    hub_of(client).publish([stock("MARA", 1, 8), stock("MARA", 2, 10), stock("MARA", 3, 11), stock("MARA", 4, 12)])
    assert client.ids() == ["1"]


def test_an_event_is_encoded_once_for_all_and_not_at_all_for_nobody() -> None:
    hub = hub_of(Listener("stocks", "T.MARA"), Listener("stocks", "T.*", "Q.*"))
    hub.publish([stock("MARA", 1)])
    encoded: list[Any] = []
    encode = hub._encode

    def counting(payload: Any) -> bytes:
        encoded.append(payload)
        return encode(payload)

    hub._encode = counting
    hub.publish([stock("MARA", 2), coin(3)])
    assert len(encoded) == 1


def test_faults_may_change_what_a_client_gets() -> None:
    class Twice(NoFaults):
        def before_send(self, client: Client, frames: Sequence[bytes]) -> Sequence[bytes]:
            return [frame for frame in frames for _ in range(2)] if client.cluster == "stocks" else []

    stocks, crypto = Listener("stocks", "T.*"), Listener("crypto", "XT.*")
    hub_of(stocks, crypto, faults=Twice()).publish([stock("MARA", 1), coin(2)])
    assert stocks.ids() == ["1", "1"]
    assert crypto.ids() == []


@given(st.lists(st.integers(2, 200_000), max_size=1000))
def test_frames_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    client = Listener("stocks")
    client.due = [b'"' + b"x" * (size - 2) + b'"' for size in sizes]
    expected = [event.decode().strip('"') for event in client.due]
    frames = client.take_frames()
    assert [event for frame in frames for event in json.loads(frame)] == expected
    for frame in frames:
        assert len(frame) <= BYTES_A_FRAME + 200_000 < 1 << 20
        assert len(json.loads(frame)) <= EVENTS_A_FRAME
    assert client.due == []


async def test_no_faults_changes_nothing() -> None:
    faults = NoFaults()
    frames = [b"[1]", b"[2]"]
    await faults.on_connect("stocks")
    assert await faults.on_auth("stocks", accepted=True) is True
    assert await faults.on_auth("stocks", accepted=False) is False
    assert await faults.on_subscribe("stocks", ["T.*", "Q.*"]) == ["T.*", "Q.*"]
    assert faults.before_send(Listener("stocks"), frames) is frames
    assert await faults.on_rest("/v3/trades/MARA") is None


def test_a_close_carries_its_code_and_reason() -> None:
    close = CloseConnection(1008, "enough")
    assert (close.code, close.reason) == (1008, "enough")
