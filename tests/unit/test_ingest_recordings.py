"""Reading recordings: what is trouble of a line, and what of the file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from marketdata.vendor import VendorTrade
from services.ingest.recordings import Extent, RecordingError, read_events, survey

T0 = 1_709_650_800_000


def stock(t: int, **more: Any) -> bytes:
    return json.dumps({"ev": "T", "sym": "MARA", "p": 20.5, "t": t, "i": "1", "x": 4, "s": 100, **more}).encode()


def coin(t: int) -> bytes:
    return json.dumps({"ev": "XT", "pair": "BTC-USD", "p": 65_000, "t": t, "i": 9, "x": 1, "s": 0.5}).encode()


def written(path: Path, *lines: bytes) -> Path:
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path) -> tuple[list[VendorTrade], list[tuple[str | None, bytes]]]:
    aside: list[tuple[str | None, bytes]] = []
    return list(read_events(path, lambda reason, line: aside.append((reason, line.rstrip())))), aside


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_that_are_no_trade_are_put_aside_and_reading_goes_on(tmp_path: Path, name: str) -> None:
    deep = b'{"ev":"T","new":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    bad = [b"{", b'{"ev":"ZZ"}', b'{"ev":"T","sym":"\xff"}', deep, stock(12), stock(T0, q=2**64)]
    quote = b'{"ev":"Q","sym":"MARA","bp":1}'
    path = written(tmp_path / name, bad[0], stock(T0), b"", quote, *bad[1:], coin(T0 + 5))
    trades, aside = read(path)
    assert [event.t for event in trades] == [T0, T0 + 5]
    assert [line for reason, line in aside if reason] == bad
    assert [line for reason, line in aside if reason is None] == [quote], "known, and not read here"
    assert survey(path) == Extent(T0, T0 + 5, mixed=True)


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    trades, aside = read(written(tmp_path / "a", stock(T0, z=3.0, q=5.0, x=4.0, c=[14.0])))
    assert (trades[0].x, trades[0].c, aside) == (4, (14,), [])


def test_the_extent(tmp_path: Path) -> None:
    assert survey(written(tmp_path / "a", stock(T0), stock(T0), stock(T0 + 9))) == Extent(T0, T0 + 9, mixed=False)


@pytest.mark.parametrize("line", [stock(T0 + 9, p="dear"), b'{"ev":"A","t":4000000000000}'])
def test_a_line_that_is_no_trade_has_no_place_in_time(tmp_path: Path, line: bytes) -> None:
    assert survey(written(tmp_path / "a", line, stock(T0), stock(T0 + 1))) == Extent(T0, T0 + 1, mixed=False)


def test_a_recording_out_of_order_names_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", stock(T0), b"", stock(T0 + 2), stock(T0 + 1))
    with pytest.raises(RecordingError, match=rf"a\.jsonl line 4: time {T0 + 1} is before {T0 + 2}"):
        survey(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(stock(T0 + n) for n in range(2_000)))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "plain.gz").write_bytes(stock(T0))
    (tmp_path / "broken.gz").write_bytes(whole[:200] + b"\0" * 50 + whole[250:])
    written(tmp_path / "quotes", b'{"ev":"Q"}')
    for name in ("cut.gz", "plain.gz", "broken.gz", "quotes", "missing"):
        with pytest.raises(RecordingError, match=name.replace(".", r"\.")):
            survey(tmp_path / name)
    with pytest.raises(RecordingError, match="directory"):
        survey(tmp_path)
