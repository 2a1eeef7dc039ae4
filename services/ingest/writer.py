"""The only one who writes trades.*: trades, BTC copies, bands and clocks, in the order in which it is given them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import structlog
from confluent_kafka import KafkaException, Producer

from marketdata.partition import partition_of
from marketdata.records import Band, Clock, DeadLetter, Gap, Quote, Reference, Trade, encode
from marketdata.topics import MARKETS, Topics
from services.ingest import metrics
from services.ingest.hostclock import wall_us
from services.ingest.seen import STOCKS_DAY_SHIFT_US, Seen
from streaming.fatal import die
from streaming.metrics import DEAD_LETTERS
from streaming.places import Place
from streaming.producer import Headers, exact_producer, produce, serve_deliveries
from streaming.tracing import TRACEPARENT, Tracing

log = structlog.stdlib.get_logger()
TRADE: Final = [("kind", b"trade")]
REFERENCE: Final = [("kind", b"reference")]
CLOCK: Final = [("kind", b"clock")]
BAND: Final = [("kind", b"band")]
AS_TRADE: Final = b'{"kind":"trade"'
AS_REFERENCE: Final = b'{"kind":"reference"'
QUOTE_COPY: Final = [("kind", b"quote_copy")]
AS_QUOTE: Final = b'{"kind":"quote"'
AS_QUOTE_COPY: Final = b'{"kind":"quote_copy"'
CROWDED: Final = 250_000
"""Undelivered records past which nothing is added: half of what the producer holds before it blocks."""
MAX_DEAD_LETTER: Final = 256 * 1024
"""Bytes of a dead letter that are kept, well under what brokers take in one record (1 MiB)."""
MAX_REASON: Final = 500
PLACES: Final = 65_536
"""Symbols whose key and partition are kept at hand."""


class _Market:
    """What the writer keeps of one market; counts are handed to the metrics at each poll."""

    __slots__ = ("clock", "clocks", "duplicates", "seen", "topic", "written")

    def __init__(self, topic: str, seen: Seen) -> None:
        self.topic = topic
        self.seen = seen
        self.clock = 0
        self.written = 0
        self.duplicates = 0
        self.clocks = 0


class Writer:
    """Writes under one epoch. A trade whose identity it wrote within the horizon is dropped."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        partitions: int,
        *,
        epoch: int,
        references: tuple[str, ...],
        horizon_us: int,
        tracing: Tracing | None = None,
    ) -> None:
        # Nothing is asked about: a record that is lost is the gapless producer's end, and what follows says so.
        self._producer: Producer = exact_producer(bootstrap, name="ingest", delivery_timeout_ms=0)
        self._topics = topics
        self._partitions = range(partitions)
        self._markets = {
            market: _Market(topics.trades(market), Seen(horizon_us, STOCKS_DAY_SHIFT_US * (market == "stocks")))
            for market in MARKETS
        }
        self._stocks = topics.trades("stocks")
        self._quotes = {market: topics.quotes(market) for market in MARKETS}
        self._references = frozenset(references)
        self._places: dict[str, tuple[bytes, int]] = {}
        self._published = dict.fromkeys(MARKETS, (0, 0, 0))
        self._tracing = tracing
        self.epoch = epoch
        self.records = 0
        self.dead_letters = 0

    def resume(self, market: str, clock: int, seen: Seen) -> None:
        """Take up where the log ends: its newest clock in µs and which trades stand in it."""
        self._markets[market].clock = clock
        self._markets[market].seen = seen

    def trade(self, market: str, trade: Trade, copied: Collection[int] = ()) -> bool:
        """Write ``trade`` to its partition, and a reference symbol's also into every partition of trades.stocks.

        A predecessor's copies stand in the partitions ``copied``.
        """
        own = self._markets[market]
        if not own.seen.is_new(trade):
            own.duplicates += 1
            return False
        symbol = trade.symbol
        key, partition = self._place(symbol)
        value = encode(trade)
        self._produce(own.topic, value, key, partition, TRADE if self._tracing is None else self._traced(trade))
        if market == "crypto" and symbol in self._references:
            # The same fields under another kind, which msgspec writes first.
            copy = AS_REFERENCE + value[len(AS_TRADE) :]
            for partition in self._partitions:
                if partition not in copied:
                    self._produce(self._stocks, copy, key, partition, REFERENCE)
        own.written += 1
        return True

    def quote(self, market: str, quote: Quote) -> None:
        """Write ``quote`` to its partition of quotes.*."""
        key, partition = self._place(quote.symbol)
        self._produce(self._quotes[market], encode(quote), key, partition, None)

    def quote_copy(self, quote: Quote, *, everywhere: bool) -> None:
        """Write a copy of ``quote`` into its partition of trades.stocks, or into every one."""
        key, own = self._place(quote.symbol)
        copy = AS_QUOTE_COPY + encode(quote)[len(AS_QUOTE) :]
        for partition in self._partitions if everywhere else (own,):
            self._produce(self._stocks, copy, key, partition, QUOTE_COPY)

    def band(self, band: Band) -> None:
        """Write a price band to its symbol's partition; one that is repeated says the same again."""
        key, partition = self._place(band.symbol)
        self._produce(self._stocks, encode(band), key, partition, BAND)

    def copy(self, partition: int, copy: Reference) -> None:
        """Write a copy that a predecessor did not get to, into the one partition of trades.stocks that lacks it."""
        value = encode(msgspec.structs.replace(copy, epoch=self.epoch))
        self._produce(self._stocks, value, copy.symbol.encode(), partition, REFERENCE)

    def clock(self, market: str, ts: int) -> bool:
        """Write a clock of ``ts`` µs into every partition of a market, unless it would go back."""
        own = self._markets[market]
        if ts <= own.clock:
            return False
        own.clock = ts
        value = encode(Clock(ts=ts, epoch=self.epoch))
        for partition in self._partitions:
            self._produce(own.topic, value, None, partition, CLOCK)
        own.clocks += 1
        return True

    def fence(self, clocks: Mapping[Place, int]) -> None:
        """Say each partition's clock (µs) again under this epoch: what an older one still sends no longer counts."""
        for (topic, partition), ts in clocks.items():
            self._produce(topic, encode(Clock(ts=ts, epoch=self.epoch)), None, partition, CLOCK)

    def gap(self, gap: Gap) -> None:
        """Record a stretch that was not received, at each status it reaches."""
        metrics.GAPS.labels(gap.cluster, gap.status).inc()
        log.warning("gap in the feed", market=gap.cluster, start=gap.start, end=gap.end, status=gap.status,
                    trades=gap.trades)  # fmt: skip
        self._produce(self._topics.gaps, encode(gap), gap.cluster.encode(), 0, None)

    def dead_letter(self, reason: str, raw: bytes, now: int) -> None:
        """Put aside what cannot be read; of more than 256 KiB the beginning."""
        reason = reason[:MAX_REASON]
        if len(raw) > MAX_DEAD_LETTER:
            reason = f"{reason} (the first {MAX_DEAD_LETTER} of {len(raw)} bytes)"
        letter = DeadLetter(service="ingest", reason=reason, raw=raw[:MAX_DEAD_LETTER], ts=now)
        self._produce(self._topics.dead_letters("ingest"), encode(letter), None, 0, None)
        self.dead_letters += 1
        DEAD_LETTERS.inc()

    def newest_clock(self, market: str) -> int:
        """The last clock written, in µs; 0 if none."""
        return self._markets[market].clock

    def known_from(self, market: str) -> int:
        """The event time in µs from which on a repeat is certain to be dropped."""
        return self._markets[market].seen.known_from

    def hold(self, market: str) -> None:
        """Remember for now also what gets older than the horizon, until ``release``."""
        self._markets[market].seen.hold()

    def release(self, market: str) -> None:
        """Remember no more than the horizon again."""
        self._markets[market].seen.release()

    def symbols(self, market: str) -> set[str]:
        """The symbols that were seen within the horizon."""
        return self._markets[market].seen.symbols()

    def counts(self) -> dict[str, int]:
        """What was written and dropped so far, for a log line."""
        counts = {f"{name}_trades": market.written for name, market in self._markets.items()}
        duplicates = sum(market.duplicates for market in self._markets.values())
        clocks = {f"{name}_clocks": market.clocks for name, market in self._markets.items()}
        return counts | {"duplicates": duplicates, "dead_letters": self.dead_letters} | clocks

    @property
    def crowded(self) -> bool:
        """Whether Kafka is behind: adding more would soon block the event loop, and pings with it."""
        return len(self._producer) > CROWDED

    @property
    def under_way(self) -> int:
        """How many records Kafka has not confirmed yet."""
        return len(self._producer)

    def poll(self) -> None:
        """Let delivery failures be seen, and the metrics follow."""
        serve_deliveries(self._producer)
        metrics.PRODUCER_RECORDS.set(len(self._producer))
        for name, market in self._markets.items():
            written, duplicates, clocks = self._published[name]
            if market.written == written and market.clocks == clocks and market.duplicates == duplicates:
                continue
            metrics.WRITTEN.labels(name).inc(market.written - written)
            metrics.DUPLICATES.labels(name).inc(market.duplicates - duplicates)
            metrics.CLOCKS.labels(name).inc(market.clocks - clocks)
            self._published[name] = (market.written, market.duplicates, market.clocks)

    def flush(self, timeout: float) -> int:
        """Wait (seconds) for deliveries; returns how many records are still under way."""
        self.poll()
        return int(self._producer.flush(timeout))

    def _traced(self, trade: Trade) -> Headers:
        """The headers of ``trade``, with a trace for the share of them that is sampled."""
        if self._tracing is None or not self._tracing.sampled():
            return TRADE
        span = self._tracing.span("ingest", trade.received_ts, wall_us(), symbol=trade.symbol)
        return [*TRADE, (TRACEPARENT, span)]

    def _place(self, symbol: str) -> tuple[bytes, int]:
        place = self._places.get(symbol)
        if place is None:
            if len(self._places) >= PLACES:
                self._places.clear()
            place = self._places[symbol] = (symbol.encode(), partition_of(symbol, len(self._partitions)))
        return place

    def _produce(self, topic: str, value: bytes, key: bytes | None, partition: int, headers: Headers | None) -> None:
        self.records += 1
        try:
            self._producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            produce(self._producer, topic, value, key, partition, headers, None)
        except KafkaException as error:
            die("a record was not delivered", error=str(error))
