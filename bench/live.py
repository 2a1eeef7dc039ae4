"""The bundled live feed at a fixed rate, and ingest on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

import msgspec

from bench.context import SYMBOLS, Bench, BenchError
from bench.service import Service, running, start
from feed.symbols import DEFAULT_SYMBOLS, is_pair, symbol_list
from market.native import Child, choose_ports
from market.stack import get_health
from marketdata.records import Trade
from marketdata.restvendor import RestTrade, rest_trade, ticker_of

PAGE: Final = 50_000
TIMEOUT_S: Final = 60.0


class _Page(msgspec.Struct):
    results: list[RestTrade]
    next_url: str | None = None


_page: Final = msgspec.json.Decoder(_Page).decode


@dataclass(frozen=True, slots=True)
class Feed:
    """A running feed and its ports; ``halt`` and ``go`` need it started with ``--admin``."""

    child: Child
    ws: int
    rest: int

    def sent(self) -> int:
        """Trades sent so far, both markets."""
        return int(json.loads(self._get("/ledger"))["total"])

    def halt(self) -> None:
        """No more trades; connections and REST stay."""
        self._get("/admin/stop", method="POST")

    def go(self) -> None:
        """Trades again."""
        self._get("/admin/go", method="POST")

    def trades(self, market: str, symbol: str) -> Iterator[Trade]:
        """Every trade of ``symbol`` that was sent and is still in the feed's history, as REST tells it."""
        path: str | None = f"/v3/trades/{ticker_of(market, symbol)}?order=asc&limit={PAGE}"
        while path:
            page = _page(self._get(path))
            yield from (rest_trade(market, symbol, row, row_time(row), 0) for row in page.results)
            path = page.next_url and "/" + page.next_url.split("/", 3)[3]

    def _get(self, path: str, method: str = "GET") -> bytes:
        connection = HTTPConnection("127.0.0.1", self.rest, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers={"Authorization": "Bearer bench"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise BenchError(f"the feed does not answer {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise BenchError(f"the feed answers {path} with {answer.status}: {body[:200]!r}")
        return body


def row_time(row: RestTrade) -> int:
    """A row's time in µs, which stands for its receipt: REST does not tell that."""
    return (row.sip_timestamp or row.participant_timestamp or 0) // 1_000


def stock_symbols() -> list[str]:
    """The stocks among the feed's symbols."""
    return [name for name in symbol_list(list(DEFAULT_SYMBOLS), SYMBOLS) if not is_pair(name)]


def start_feed(bench: Bench, rate: int, stack: ExitStack, *more: str) -> Feed:
    """The feed at ``rate`` trades a second, with ``more`` of its options, until ``stack`` ends."""
    ws, rest = choose_ports(None, None)
    options: dict[str, Any] = {
        "symbol-count": SYMBOLS, "symbols": ",".join(DEFAULT_SYMBOLS), "seed": 1, "rate": rate,
        "burst": bench.choices.burst, "ws-port": ws, "rest-port": rest,
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    child = stack.enter_context(start(bench, "feed", ["-m", "feed", *arguments, *more], {}))
    child.wait_until(lambda: get_health(rest)[0], 30)
    return Feed(child, ws, rest)


def start_ingest(bench: Bench, feed: Feed, stack: ExitStack, **environment: str) -> Service:
    """Ingest on ``feed``, with more of its settings in ``environment``, until ``stack`` ends."""
    url = f"ws://127.0.0.1:{feed.ws}"
    return stack.enter_context(
        running(bench, "ingest", DRY_RUN="true", SOURCE="feed", SYMBOLS=",".join(stock_symbols()),
                STOCKS_URL=f"{url}/stocks", CRYPTO_URL=f"{url}/crypto", REST_URL=f"http://127.0.0.1:{feed.rest}",
                **environment)
    )  # fmt: skip


def live_ingest(bench: Bench, rate: int, stack: ExitStack, **environment: str) -> Service:
    """The feed, then ingest on it."""
    return start_ingest(bench, start_feed(bench, rate, stack), stack, **environment)
