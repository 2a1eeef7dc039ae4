"""Frames and records that come broken in every way: values, fields, structure, bytes."""

from __future__ import annotations

import json
import random
from typing import Any

WEIRD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 12.0, -0.5, 1e-9, 1e308, 2**31, 2**31 - 1, 2**43, 2**53, 2**63, 2**63 - 1,
    2**64, 10**18, -(10**18), 10**30, "", " ", "a", "nan", "inf", "-1", "1_0", "1e3", "0.000001", "7.25", "x" * 64,
    "x" * 65, "\u0000", "\ud800", "é", "\U0001f600", [], [1], [-1], ["a"], [[]], [2**31], [1, 2, 3], {}, {"a": 1},
]  # fmt: skip
RAW = [
    b"NaN", b"Infinity", b"1e999", b"-1e999", b"01", b"1.", b"+1", b"0x10", b"'a'", b"\xff\xfe", b'"\\ud83d"', b"]",
    b"}", b"[" * 50, b"{" * 50, b"null", b'"\\u0000"', b"1E5", b"-0", b"0.0", b'"a\nb"', b"//", b"tru",
]  # fmt: skip
INTERESTING = b'{}[]",:\\0123456789.eE+-tfn \x00\xff\x80'


def change_value(rng: random.Random, fields: dict[str, Any]) -> None:
    """One field gets a value that it should not have, goes, or is joined by another."""
    draw = rng.random()
    if draw < 0.65 and fields:
        fields[rng.choice(list(fields))] = rng.choice(WEIRD)
    elif draw < 0.85 and fields:
        del fields[rng.choice(list(fields))]
    else:
        fields[rng.choice(["pt", "new", "", "kind", "src", "ev", "c", "ds", "trfi"])] = rng.choice(WEIRD)


def change_bytes(rng: random.Random, raw: bytes) -> bytes:
    """A few bytes differ, are missing, or stand twice."""
    made = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(made) + 1)
        draw = rng.randrange(7)
        if draw == 0:
            made[at : at + 1] = bytes([rng.randrange(256)])
        elif draw == 1:
            made[at : at + 1] = bytes([rng.choice(INTERESTING)])
        elif draw == 2:
            del made[at : at + rng.randrange(1, 9)]
        elif draw == 3:
            made[at:at] = made[max(0, at - rng.randrange(1, 40)) : at]
        elif draw == 4:
            made[at:at] = rng.choice(RAW)
        elif draw == 5:
            colon = made.find(b":", at)
            end = min((e for e in (made.find(b",", colon), made.find(b"}", colon)) if e > 0), default=-1)
            if 0 < colon < end:
                made[colon + 1 : end] = rng.choice(RAW)
        else:
            del made[at:]
    return bytes(made)


def noise(rng: random.Random) -> bytes:
    """Bytes that never were anything."""
    return bytes(
        rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randrange(256) for _ in range(rng.randrange(60))
    )


def dump(value: Any) -> bytes:
    """Compact JSON, as the vendor sends it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
