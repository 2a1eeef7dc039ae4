"""When faults begin, how often they happen, when they are over; what clients meet is tried on a running feed."""

import asyncio
import json
from typing import Any
from unittest.mock import MagicMock

import pytest

from feed.client import Client
from feed.faults import CloseConnection, DropConnection
from feed.kinds import NAMES, FaultError, read_fault
from feed.trouble import Trouble

DATA = [b'[{"ev":"T","i":"1"}]', b'[{"ev":"T","i":"2"}]']
STOCKS, CRYPTO = "/v3/trades/MARA", "/v3/trades/X:BTCUSD"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> Trouble:
    return Trouble(now=clock)


def begin(trouble: Trouble, name: str, **parameters: Any) -> None:
    trouble.begin(read_fault({"fault": name, **parameters}))


def a_client(cluster: str = "stocks") -> Client:
    return Client(MagicMock(), cluster, 10**9, 1.0)


def test_every_fault_can_be_had_by_its_name_alone() -> None:
    assert len(NAMES) == 15
    for name in NAMES:
        trouble = Trouble()
        begin(trouble, name)
        assert [(told["fault"], told["cluster"]) for told in trouble.active()] == [(name, "stocks"), (name, "crypto")]
        trouble.clear()
        assert trouble.active() == []


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"1", b'{"fault":1}', b'{"fault":"drop","count":1.5}'])
def test_what_is_no_fault_is_refused_with_the_names_of_those_that_are(raw: bytes) -> None:
    with pytest.raises(FaultError, match="rest_late"):
        read_fault(raw)


def test_no_fault_changes_nothing(trouble: Trouble) -> None:
    assert trouble.before_send(a_client(), DATA) is DATA
    assert trouble.rest_newest_ns(STOCKS) is None
    rows: list[Any] = []
    assert trouble.rest_rows(STOCKS, rows, True) is rows


async def test_seconds_and_count_whichever_is_over_first(trouble: Trouble, clock: Clock) -> None:
    begin(trouble, "rest_error", seconds=10, count=2, cluster="stocks")
    assert await trouble.on_rest(CRYPTO) is None
    assert [await trouble.on_rest(STOCKS) is None for _ in range(3)] == [False, False, True]
    begin(trouble, "rest_error", seconds=10, count=2)
    clock.now += 10.1
    assert await trouble.on_rest(STOCKS) is None
    begin(trouble, "rest_error", count=1)
    clock.now += 10_000
    assert [await trouble.on_rest(path) is None for path in (STOCKS, CRYPTO, STOCKS)] == [False, False, True]
    begin(trouble, "rest_error")
    clock.now += 4.9
    assert await trouble.on_rest(STOCKS) is not None
    clock.now += 0.2
    assert await trouble.on_rest(STOCKS) is None
    assert trouble.happened() == {"rest_error": 5}


async def test_those_who_enter_are_troubled_once_unless_told_otherwise(trouble: Trouble) -> None:
    begin(trouble, "drop_in_auth", cluster="stocks")
    assert await trouble.on_auth("crypto", accepted=True)
    with pytest.raises(DropConnection):
        await trouble.on_auth("stocks", accepted=True)
    assert await trouble.on_auth("stocks", accepted=True)
    begin(trouble, "max_connections")
    with pytest.raises(CloseConnection):
        await trouble.on_subscribed("stocks")
    await trouble.on_subscribed("stocks")
    with pytest.raises(CloseConnection):
        await trouble.on_subscribed("crypto")


async def test_a_wrong_key_stays_wrong_and_a_right_one_is_right_again(trouble: Trouble, clock: Clock) -> None:
    begin(trouble, "refuse_auth", seconds=3)
    assert not await trouble.on_auth("stocks", accepted=True)
    clock.now += 3
    assert await trouble.on_auth("stocks", accepted=True)
    assert not await trouble.on_auth("stocks", accepted=False)


@pytest.mark.parametrize("name", ["garbage", "no_ev", "big_frame"])
def test_each_cluster_gets_its_spoiled_frame_and_loses_none_of_its_own(trouble: Trouble, name: str) -> None:
    begin(trouble, name)
    for cluster in ("stocks", "crypto"):
        client = a_client(cluster)
        sent = trouble.before_send(client, DATA)
        assert sent != DATA
        assert b"".join(sent).count(b'"i"') == 2
        if name != "garbage":
            assert [e["i"] for frame in sent for e in json.loads(frame) if "i" in e] == ["1", "2"]
        assert trouble.before_send(client, DATA) == DATA


async def test_drops_strike_all_that_are_there_and_the_rest_of_the_count_the_next(trouble: Trouble) -> None:
    there, other, later = a_client(), a_client("crypto"), [a_client(), a_client()]
    trouble.clients = lambda: (there, other)
    begin(trouble, "drop", count=2, cluster="stocks")
    for client in later:
        trouble.before_send(client, DATA)
    await asyncio.sleep(0)
    for struck, client in zip((True, False, True, False), (there, other, *later), strict=True):
        assert client.closing == client.socket.transport.abort.called == struck
    assert trouble.happened() == {"drop": 2}
    assert trouble.active() == []
