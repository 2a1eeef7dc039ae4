"""The join against its definition, for any order of trades, BTC copies and back-filled BTC trades."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.calendar import TradingHours
from marketdata.join import JoinSettings, RatioJoin
from marketdata.records import Clock, Ratio, Reference, Trade, encode

S = 1_000_000
T0 = 1_700_000_000 * S
MAX_AGE = 5 * S
HORIZON = 20 * S
ALWAYS_OPEN = TradingHours({}, (0, 0))

steps = st.lists(
    st.tuples(
        st.sampled_from(("stock", "stock", "btc", "btc", "filled", "clock")),
        st.sampled_from((0, 10_000, 300_000, S, 3 * S)),  # time goes on
        st.sampled_from((0, 0, 0, 20_000, 700_000, 2 * S, 6 * S, 12 * S, 30 * S)),  # late by
    ),
    min_size=5,
    max_size=80,
)


def trade(kind: str, ts: int, number: int) -> Trade:
    fields = {"ts": ts, "received_ts": ts, "price": 10.0 + number, "size": 1.0, "exchange": 1, "id": str(number)}
    if kind == "stock":
        return Trade(symbol="MARA", epoch=1, **fields)  # type: ignore[arg-type]
    return Reference(symbol="BTC-USD", epoch=1, backfilled=kind == "filled", **fields)  # type: ignore[arg-type]


def expected(log: list[tuple[str, Trade, int]], at: int, now: int) -> float | None:
    """The BTC price of the trade at place ``at``, as it is known once ``now`` records stand in the log."""
    own = log[at][1]
    seen = [
        (t.ts, int(t.id), t.price)
        for place, (kind, t, _) in enumerate(log[:now])
        if kind in {"btc", "filled"} and t.ts <= own.ts and (place < at or kind == "filled")
    ]
    if not seen or own.ts - max(seen)[0] > MAX_AGE:
        return None
    return max(seen)[2]


@settings(max_examples=300)
@given(steps)
def test_each_trade_has_the_last_btc_trade_it_could_know_and_what_was_filled_in_later(
    script: list[tuple[str, int, int]],
) -> None:
    join = RatioJoin("BTC-USD", ALWAYS_OPEN, JoinSettings(MAX_AGE, HORIZON))
    log: list[tuple[str, Trade, int]] = []
    answers: dict[int, Ratio] = {}
    places: dict[str, int] = {}
    now, clock = T0, 0
    for kind, forward, late in script:
        now += forward
        place = len(log)
        if kind == "clock":
            if now > clock:
                revised = join.clock(Clock(ts=now, epoch=1), (0, place, 0), 0)
                assert revised is not None
                take(revised, place, answers, places)
                check(log, answers, clock)
                clock = now
            continue
        made = trade(kind, now - late, place)
        log.append((kind, made, clock))
        if isinstance(made, Reference):
            join.reference(made, place)
        else:
            ratio = join.stock(made, encode(made), (0, place, 0), 0)
            assert ratio is not None
            answers[place], places[made.id] = ratio, place


def take(revised: list[Ratio], place: int, answers: dict[int, Ratio], places: dict[str, int]) -> None:
    """Each changed answer once, in the order of trades, with the next revision."""
    assert [r.src for r in revised] == [(0, place, n) for n in range(len(revised))]
    assert [(r.ts, int(r.id)) for r in revised] == sorted({(r.ts, int(r.id)) for r in revised})
    for ratio in revised:
        before = answers[places[ratio.id]]
        assert (ratio.revision, ratio.btc_ts) != (before.revision, before.btc_ts)
        assert ratio.revision == before.revision + 1
        answers[places[ratio.id]] = ratio


def check(log: list[tuple[str, Trade, int]], answers: dict[int, Ratio], clock: int) -> None:
    """Every answer is what its definition says, now that a clock has come; ``clock`` is the one before it."""
    for at, answer in answers.items():
        own = log[at][1]
        if log[at][2] - HORIZON > own.ts:
            assert answer.reason == "past_horizon"
        elif own.ts >= clock - HORIZON + MAX_AGE:  # nothing it may need is past the horizon
            assert answer.btc_price == expected(log, at, len(log)), (at, answer)
