"""Candles from a feed's raw events by pandas alone: a second opinion that shares no code with the project.

The rules are read from the documents and from the vendor's table of conditions, the exchange's hours straight from
exchange_calendars. Sums are pandas' compensated ones: within a few units in the last place of the exact value.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import exchange_calendars
import numpy as np
import pandas as pd

MS, SECOND = 1_000, 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
LENGTHS: Final = {
    "500ms": 500 * MS, "1s": SECOND, "5s": 5 * SECOND, "15s": 15 * SECOND, "30s": 30 * SECOND, "45s": 45 * SECOND,
    "1m": 60 * SECOND, "5m": 300 * SECOND, "15m": 900 * SECOND, "1h": HOUR, "4h": 4 * HOUR, "24h": DAY,
}  # fmt: skip
EXCHANGE_DAY: Final = "1d"
INTERVALS: Final = (*LENGTHS, EXCHANGE_DAY)
LABELLED_UP_TO: Final = 900 * SECOND
KEY: Final = ["interval", "hours", "symbol", "start"]
EXACT: Final = [
    "end", "session", "open", "high", "low", "close", "tick_count", "trade_count",
    "has_ratio", "ratio_open", "ratio_high", "ratio_low", "ratio_close", "ratio_tick_count",
]  # fmt: skip
SUMMED: Final = ["avg", "vwap", "volume", "ratio_avg", "ratio_twap"]
FIELDS: Final = [*EXACT, *SUMMED]
FLOW: Final = ["buy_volume", "sell_volume"]
CANCEL_RECORD: Final = 10
CLOCK_STEP: Final = 50 * MS
_ORDER: Final = ["ts", "sequence", "exchange", "id_is_text", "id_number", "id_text", "trf"]
_UPDATES: Final = {"high_low": "updates_high_low", "open_close": "updates_open_close", "volume": "updates_volume"}


def events(path: Path) -> list[dict[str, Any]]:
    """The events of a recording, one JSON object a line."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def hours_of(first: str, last: str) -> pd.DataFrame:
    """New York's regular sessions: ``opens`` and ``closes`` in µs, one row a trading day."""
    calendar = exchange_calendars.get_calendar("XNYS", start=first, end=last)
    micros = {
        name: getattr(calendar, name).dt.tz_convert(None).astype("datetime64[us]").astype("int64").to_numpy()
        for name in ("opens", "closes")
    }
    return pd.DataFrame(micros)


@dataclass(frozen=True)
class Rules:
    """What decides: the vendor's conditions by id, the sessions, and how old a BTC price and a late trade may be."""

    conditions: dict[int, dict[str, str]]
    hours: pd.DataFrame
    max_age: int = 120 * SECOND
    horizon: int = 900 * SECOND

    @classmethod
    def read(cls, conditions: Path, hours: pd.DataFrame) -> Rules:
        """The rules with the vendor's table of conditions from a file."""
        with conditions.open() as file:
            return cls({int(row["id"]): row for row in csv.DictReader(file)}, hours)

    def allows(self, given: list[int], regular: bool) -> tuple[bool, ...]:
        """(high_low, open_close, volume): an N wins; Form T forbids nothing outside regular hours."""
        rows = [self.conditions.get(c, {}) for c in given if regular or c != 12]
        return tuple(all(row.get(column) != "N" for row in rows) for column in _UPDATES.values())

    def session_start(self, ts: pd.Series) -> pd.Series:
        """The open of the regular session that holds each ``ts``, -1 where none does."""
        at = np.searchsorted(self.hours["opens"], ts, side="right") - 1
        inside = (at >= 0) & (ts < self.hours["closes"].to_numpy()[np.maximum(at, 0)])
        return pd.Series(np.where(inside, self.hours["opens"].to_numpy()[np.maximum(at, 0)], -1), index=ts.index)

    def session_label(self, start: pd.Series) -> pd.Series:
        """pre from 04:00 New York, regular, post until 20:00, else None."""
        new_york = "America/New_York"
        days, local = (
            pd.to_datetime(ts, unit="us", utc=True).dt.tz_convert(new_york).dt.tz_localize(None)
            for ts in (self.hours["opens"], start)
        )
        by_day = pd.Series(self.hours["closes"].to_numpy(), index=days.dt.normalize())
        closes = local.dt.normalize().map(by_day)
        label = pd.Series(np.where(start >= closes, "post", "pre"), index=start.index, dtype=object)
        label[self.session_start(start) >= 0] = "regular"
        outside = closes.isna() | (local.dt.hour < 4) | (local.dt.hour >= 20)
        return label.mask(outside, None)


def laps(raw: list[dict[str, Any]], start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """A recording of one hour with that hour moved to ``start_ms`` and repeated up to ``end_ms``, ids told apart."""
    hour_ms = HOUR // MS
    base, found, lap = raw[0]["t"] // hour_ms * hour_ms, [], 0
    while start_ms + lap * hour_ms <= end_ms:
        for event in raw:
            moved = event["t"] - base + start_ms + lap * hour_ms
            if moved <= end_ms:
                found.append(event | {"t": moved, "i": f"{event['i']}-{lap}" if lap else event["i"]})
        lap += 1
    return found


def crypto_trades(raw: list[dict[str, Any]]) -> pd.DataFrame:
    """Trades of crypto pairs: each forms prices and counts; their conditions are sides, not sale conditions."""
    frame = _frame([(e["pair"], e["t"], e.get("q", 0), e["x"], 0, str(e["i"]), e["p"], e["s"]) for e in raw])
    frame[[*_UPDATES, "gone"]] = [True, True, True, False]
    frame[["ratio", "session_start"]] = [np.nan, -1]
    frame["side"] = [{1: -1.0, 2: 1.0}.get((e.get("c") or [0])[0], 0.0) for e in raw]
    return _distinct(frame, [frame["ts"] // DAY])


def stock_trades(
    raw: list[dict[str, Any]], btc: pd.DataFrame, rules: Rules, *, without: str = "live"
) -> pd.DataFrame:
    """Trades of stocks with what each may update and its ratio.

    ``without``: ``live`` takes out what a cancel record within the horizon names, ``all`` what any names.
    """
    rows = [
        (e["sym"], e["t"], e.get("q", 0), e["x"], e.get("trfi", 0), str(e["i"]), e["p"], float(e.get("ds", e["s"])))
        for e in raw
    ]
    frame = _frame(rows)
    frame["is_cancel"] = [e.get("_corr", e.get("correction", 0)) == CANCEL_RECORD for e in raw]
    frame["session_start"] = rules.session_start(frame["ts"])
    regular = frame["session_start"] >= 0
    frame[list(_UPDATES)] = [rules.allows(e.get("c", []), r) for e, r in zip(raw, regular, strict=True)]
    frame = _distinct(frame, [(frame["ts"] - 5 * HOUR) // DAY, frame["is_cancel"]])
    frame["gone"] = False
    is_cancel = frame["is_cancel"]
    for cancel in frame[is_cancel].itertuples():
        _take_out(frame, cancel, ~is_cancel, rules.horizon if without == "live" else DAY)
    frame = frame[~is_cancel].drop(columns="is_cancel")
    frame["ratio"] = _ratios(frame, btc, rules.max_age)
    frame["side"] = _tick_rule(frame)
    return frame


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["symbol", "ts", "sequence", "exchange", "trf", "id", "price", "size"])
    frame["ts"] *= MS
    digits = frame["id"].str.fullmatch(r"[0-9]+")
    frame["id_is_text"] = ~digits
    frame["id_number"] = [int(i) if d else 0 for i, d in zip(frame["id"], digits, strict=True)]
    frame["id_text"] = ["" if d else i for i, d in zip(frame["id"], digits, strict=True)]
    return frame


def _distinct(frame: pd.DataFrame, more: list[pd.Series]) -> pd.DataFrame:
    """The first of each identity, ``more`` being part of it, in the order of trades."""
    identity = [*(frame[name] for name in ("symbol", "exchange", "trf", "id")), *more]
    repeated = pd.concat(identity, axis=1, keys=range(len(identity))).duplicated()
    return frame[~repeated].sort_values(_ORDER, ignore_index=True)


def _take_out(frame: pd.DataFrame, cancel: Any, is_trade: pd.Series, reach: int) -> None:
    """Mark the trade that a cancel names: by id, else the nearest earlier of its exchange, price and size."""
    clock = cancel.ts - cancel.ts % CLOCK_STEP
    near = is_trade & ~frame["gone"] & (frame["symbol"] == cancel.symbol) & (frame["exchange"] == cancel.exchange)
    near &= frame["ts"] >= clock - reach
    same_id = near & (frame["id"] == cancel.id) & (frame["trf"] == cancel.trf)
    same_value = near & (frame["price"] == cancel.price) & (frame["size"] == cancel.size) & (frame["ts"] <= cancel.ts)
    for found in (same_id, same_value):
        if found.any():
            frame.loc[frame.index[found][-1], "gone"] = True
            return


def _ratios(stocks: pd.DataFrame, btc: pd.DataFrame, max_age: int) -> np.ndarray[Any, Any]:
    """Price over the last BTC price at or before, NaN where there is none or it is too old; both come in order."""
    last = btc[["ts", "price"]].drop_duplicates("ts", keep="last").rename(columns={"price": "btc"})
    joined = pd.merge_asof(stocks[["ts", "price"]], last, on="ts", tolerance=max_age)
    return cast("np.ndarray[Any, Any]", (joined["price"] / joined["btc"]).to_numpy())


def _tick_rule(frame: pd.DataFrame) -> pd.Series:
    """1 where the last change of price was up, -1 where down, 0 before any; only of price-forming trades."""
    priced = frame[frame["high_low"] & ~frame["gone"]]
    step = np.sign(priced.groupby("symbol")["price"].diff())
    last = step.where(step != 0).groupby(priced["symbol"]).ffill()
    return last.reindex(frame.index).fillna(0.0)


def candles(
    trades: pd.DataFrame, rules: Rules, *, stocks: bool, intervals: tuple[str, ...] = INTERVALS
) -> pd.DataFrame:
    """Every candle of all intervals and hours, one row each with FIELDS and FLOW, by KEY."""
    found = [_candles(trades, rules, interval, "all", stocks) for interval in intervals if interval in LENGTHS]
    if stocks:
        regular = trades[trades["session_start"] >= 0]
        found += [_candles(regular, rules, interval, "regular", stocks) for interval in intervals]
    return pd.concat(found).set_index(KEY).sort_index()[[*FIELDS, *FLOW]]


def _candles(trades: pd.DataFrame, rules: Rules, interval: str, hours: str, stocks: bool) -> pd.DataFrame:
    """The candles of one interval. ``trades`` are in the order of trades."""
    rows = trades.copy()
    length = LENGTHS.get(interval, 0)
    if length:
        rows["start"] = rows["ts"] // length * length
        rows["end"] = rows["start"] + length
    else:
        rows["start"] = rows["session_start"]
        rows["end"] = rows["start"].map(rules.hours.set_index("opens")["closes"])
    by = ["symbol", "start"]
    made = rows.groupby(by).agg(end=("end", "first"), has_ratio=("ratio", "count"))
    made["has_ratio"] = made["has_ratio"] > 0
    standing = rows[~rows["gone"]]
    made = made.join(_prices(standing, by)).join(
        _ratio_part(standing[standing["high_low"]].dropna(subset="ratio"), by)
    )
    counts = ["tick_count", "trade_count", "ratio_tick_count"]
    made[counts] = made[counts].fillna(0).astype("int64")
    sums = ["volume", *FLOW]
    made[sums] = made[sums].fillna(0.0)
    made = made.reset_index().assign(interval=interval, hours=hours)
    labelled = stocks and 0 < length <= LABELLED_UP_TO
    made["session"] = rules.session_label(made["start"]) if labelled else None
    return made


def _prices(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    priced = rows[rows["high_low"]]
    priced = priced.assign(value=priced["price"] * priced["size"])
    groups = priced.groupby(by)
    made = groups.agg(
        high=("price", "max"), low=("price", "min"), avg=("price", "mean"), tick_count=("price", "size")
    )
    sums = groups[["value", "size"]].sum()
    made["vwap"] = (sums["value"] / sums["size"]).where(sums["size"] > 0)
    opening = priced[priced["open_close"]].groupby(by).agg(open=("price", "first"), close=("price", "last"))
    taken = rows[rows["volume"]]
    taken = taken.assign(bought=taken["size"].where(taken["side"] > 0), sold=taken["size"].where(taken["side"] < 0))
    counted = taken.groupby(by).agg(
        volume=("size", "sum"),
        trade_count=("size", "size"),
        buy_volume=("bought", "sum"),
        sell_volume=("sold", "sum"),
    )
    return counted.join(made, how="outer").join(opening, how="outer")


def _ratio_part(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Of price-forming trades with a ratio; twap weighs each by the time until the next, or the candle's end."""
    until = rows.groupby(by)["ts"].shift(-1)
    stood = until.fillna(rows["end"].astype("float64")) - rows["ts"]
    groups = rows.assign(stood=stood, weight=rows["ratio"] * stood).groupby(by)
    made = groups["ratio"].agg(["first", "max", "min", "last", "mean", "size"])
    made.columns = pd.Index(["ratio_" + n for n in ("open", "high", "low", "close", "avg", "tick_count")])
    sums = groups[["weight", "stood"]].sum()
    made["ratio_twap"] = sums["weight"] / sums["stood"]
    return made


def differences(
    found: pd.DataFrame, wanted: pd.DataFrame, fields: list[str] = FIELDS, rtol: float = 1e-12
) -> list[str]:
    """What differs, in words, a line each; both by KEY with ``fields``. Null equals only null."""
    told = [f"missing {key}" for key in wanted.index.difference(found.index)]
    told += [f"not wanted {key}" for key in found.index.difference(wanted.index)]
    common = found.index.intersection(wanted.index)
    ours, theirs = found.loc[common], wanted.loc[common]
    for field in fields:
        a, b = ours[field], theirs[field]
        neither = a.isna() & b.isna()
        if field in SUMMED or field in FLOW:
            same = (a.astype(float) - b.astype(float)).abs() <= rtol * b.astype(float).abs()
        else:
            same = a == b
        wrong = ~(same.fillna(value=False).astype(bool) | neither)
        told += [f"{field} of {key}: {a[key]!r}, not {b[key]!r}" for key in common[wrong]]
    return told
