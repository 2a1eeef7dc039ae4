"""The vendor's own client on both clusters, its handler counting and nothing else: parsed trades, or raw frames."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

from polygon import WebSocketClient

CHANNELS = {"stocks": "T.*", "crypto": "XT.*"}
AFTER_S = 0.5
"""A trade that comes twice comes by then, and is counted too."""


class Count:
    """Trades so far; the clock runs from the first message with trades to the one that brings the last of them."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.trades = 0
        self.began = self.seconds = self.cpu_s = 0.0
        self.cpu_before = 0.0
        self.all_there = asyncio.Event()

    async def take_parsed(self, trades: list[Any]) -> None:
        """One message, as objects."""
        self._add(len(trades))

    async def take_raw(self, message: str) -> None:
        """One message, as text; a status holds none."""
        self._add(message.count('"ev":"T"') + message.count('"ev":"XT"'))

    def _add(self, trades: int) -> None:
        if not self.trades and trades:
            self.began, self.cpu_before = time.perf_counter(), time.process_time()
        self.trades += trades
        if self.trades >= self.wanted and not self.seconds:
            self.seconds = time.perf_counter() - self.began
            self.cpu_s = time.process_time() - self.cpu_before
            self.all_there.set()


async def main() -> None:
    """Read until all trades are there, then print what was counted as JSON."""
    count, raw = Count(int(os.environ["TRADES"])), os.environ["MODE"] == "raw"
    clients = [
        WebSocketClient(
            api_key="k", feed=os.environ["ADDRESS"], market=market, secure=False, subscriptions=[item], raw=raw,
            max_reconnects=0,
        )
        for market, item in CHANNELS.items()
    ]  # fmt: skip
    take = count.take_raw if raw else count.take_parsed
    readers = [asyncio.create_task(client.connect(take)) for client in clients]
    waiter = asyncio.create_task(count.all_there.wait())
    await asyncio.wait([waiter, *readers], return_when=asyncio.FIRST_COMPLETED)
    if not waiter.done():
        raise SystemExit(f"the client ended after {count.trades} trades: {[r for r in readers if r.done()]}")
    await asyncio.sleep(AFTER_S)
    print(json.dumps({"trades": count.trades, "seconds": count.seconds, "cpu_s": count.cpu_s}), flush=True)
    os._exit(0)  # closing both connections would take the client's time-outs


if __name__ == "__main__":
    asyncio.run(main())
