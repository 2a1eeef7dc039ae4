"""What the join must give for each stock trade of an input, and whether an output topic holds just that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bench.peers.contenders import Contender
from bench.peers.job import Record, Verdict
from bench.peers.trades import MAX_AGE_US
from marketdata.records import UNREADABLE, Reference, Src, Trade


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What is compared of a ratio record, ours or a peer's; the fields as in marketdata.records.Ratio."""

    symbol: str
    ts: int
    stock_price: float
    stock_size: float
    src: Src
    btc_price: float | None
    btc_ts: int | None
    btc_age_us: int | None
    btc_volume: float | None
    ratio: float | None
    inverse_ratio: float | None
    reason: str | None
    revision: int = 0


_answer: Final = msgspec.json.Decoder(Answer).decode
_pack: Final = msgspec.msgpack.Encoder().encode
"""Numbers as the bits they have in memory: equal bytes are equal answers, and a million of them fit."""
_unpack: Final = msgspec.msgpack.Decoder(Answer).decode


class Answers:
    """The expected answers by their trades' places in the log, made while it is written."""

    def __init__(self, partitions: int) -> None:
        self._packed: list[list[bytes | None]] = [[] for _ in range(partitions)]
        self._btc: list[list[Reference]] = [[] for _ in range(partitions)]
        self.trades = 0

    def add(self, partition: int, record: Record) -> None:
        """Take the next record of the log."""
        packed = self._packed[partition]
        answer = None
        if type(record) is Reference:
            self._btc[partition].append(record)
        elif type(record) is Trade:
            answer = _pack(_join(record, self._btc[partition], (partition, len(packed), 0)))
            self.trades += 1
        packed.append(answer)

    def expected(self) -> Answers:
        """See bench.peers.job.Tally."""
        return self

    @property
    def outputs(self) -> int:
        """How many ratios are compared: as many as there are stock trades."""
        return self.trades

    def wanted(self, contender: Contender) -> int:
        """Records of a whole output topic: ours passes clocks and BTC copies on."""
        return sum(map(len, self._packed)) if contender.is_ours else self.trades

    def judge(self, messages: Iterable[Any], contender: Contender) -> Verdict:
        """Compare every ratio with the expected one, bit for bit."""
        check = _Check(self._packed)
        for message in messages:
            if not contender.is_ours or ("kind", b"ratio") in (message.headers() or ()):
                check.take(message)
        return check.verdict(self.trades)


class _Check:
    """Goes through one output topic."""

    def __init__(self, packed: list[list[bytes | None]]) -> None:
        self._packed = packed
        self._seen = [bytearray(len(some)) for some in packed]
        self._wrong: Counter[str] = Counter()
        self._example = ""
        self._times: list[int] = []

    def take(self, message: Any) -> None:
        """One ratio."""
        self._times.append(message.timestamp()[1])
        try:
            answer = _answer(message.value())
        except UNREADABLE as error:
            self._complain("unreadable", str(error))
            return
        partition, offset, _ = answer.src
        packed = self._expected(partition, offset)
        if packed is None:
            self._complain("of no stock trade", f"src {answer.src}")
            return
        if self._seen[partition][offset]:
            self._complain("written twice", f"src {answer.src}")
        elif packed != _pack(answer):
            self._complain("different", f"{answer} where {_unpack(packed)} is right")
        elif message.partition() != partition or message.key() != answer.symbol.encode():
            self._complain("in another partition or under another key", f"{answer.src} in {message.partition()}")
        self._seen[partition][offset] = 1

    def verdict(self, trades: int) -> Verdict:
        """When the first and the last ratio were written, and what is wrong, in a line each."""
        missing = trades - sum(map(sum, self._seen))
        wrong = Counter({"missing": missing} if missing else {}) + self._wrong
        lines = [f"{count:,} of {trades:,} ratios {what}" for what, count in wrong.items()]
        example = [self._example] if self._example else []
        return Verdict(min(self._times, default=0) / 1_000, max(self._times, default=0) / 1_000, lines + example)

    def _expected(self, partition: int, offset: int) -> bytes | None:
        there = 0 <= partition < len(self._packed) and 0 <= offset < len(self._packed[partition])
        return self._packed[partition][offset] if there else None

    def _complain(self, what: str, example: str) -> None:
        self._wrong[what] += 1
        self._example = self._example or example


def _join(trade: Trade, earlier: list[Reference], src: Src) -> Answer:
    """The answer by the plainest way: back from the newest BTC trade before it in the log to one at or before it.

    That finds the last in the order of trades, because the generator's BTC trades stand in that order.
    """
    btc = next((reference for reference in reversed(earlier) if reference.ts <= trade.ts), None)
    given = (trade.symbol, trade.ts, trade.price, trade.size, src)
    if btc is None or trade.ts - btc.ts > MAX_AGE_US:
        reason = "no_reference" if btc is None else "stale_reference"
        return Answer(*given, None, None, None, None, None, None, reason)
    age = trade.ts - btc.ts
    return Answer(*given, btc.price, btc.ts, age, btc.size, trade.price / btc.price, btc.price / trade.price, None)
