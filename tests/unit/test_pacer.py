"""At once after a quiet spell, then at most once in 50 ms, and the last news always goes out."""

from __future__ import annotations

import random

from marketdata.pacer import Pacer

MS = 1_000
T = 1_800_000_000_000_000


def test_at_once_then_once_in_a_step() -> None:
    pacer = Pacer(50 * MS)
    pacer.touch("A")
    assert pacer.take(T, 10) == ["A"]
    pacer.touch("A")
    pacer.touch("A")
    assert pacer.take(T + 49 * MS, 10) == []
    assert pacer.take(T + 50 * MS, 10) == ["A"]
    assert pacer.take(T + 150 * MS, 10) == []
    pacer.touch("A")
    assert pacer.take(T + 151 * MS, 10) == ["A"]


def test_those_that_wait_longest_go_first_and_none_is_lost() -> None:
    pacer = Pacer(50 * MS)
    for name in "CAB":
        pacer.touch(name)
    assert pacer.take(T, 2) == ["C", "A"]
    pacer.touch("C")
    assert pacer.take(T + 1 * MS, 2) == ["B"]
    assert pacer.take(T + 50 * MS, 2) == ["C"]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    pacer = Pacer(50 * MS)
    pacer.touch("A")
    assert pacer.take(T, 10) == ["A"]
    pacer.touch("A")
    assert pacer.take(T - 3_600_000 * MS, 10) == ["A"]


def test_what_was_read_again_is_no_news() -> None:
    pacer = Pacer(50 * MS)
    pacer.touch("A")
    pacer.take(T, 10)
    pacer.touch("A")
    pacer.touch("B")
    pacer.forget()
    assert pacer.take(T + 60 * MS, 10) == []


def test_any_news_goes_out_in_time_and_never_too_soon() -> None:
    rng, pacer = random.Random(1), Pacer(50 * MS)
    now, sent = T, dict.fromkeys("ABC", 0)
    waiting: dict[str, int] = {}
    for _ in range(5_000):
        now += rng.choice((0, 1, 4, 20, 90)) * MS
        if rng.random() < 0.6:
            symbol = rng.choice("ABC")
            pacer.touch(symbol)
            waiting.setdefault(symbol, now)
        for symbol in pacer.take(now, 10):
            assert now - sent[symbol] >= 50 * MS
            sent[symbol] = now
            del waiting[symbol]
        for symbol in waiting:
            assert now - sent[symbol] < 50 * MS
