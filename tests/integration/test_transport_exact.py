"""Whatever happens to its workers, a service's outputs equal those of an undisturbed run, record for record."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from marketdata.units import SECOND_US
from tests.support.logs import CRYPTO, STOCKS, Entry, market_log
from tests.support.topics import Read, Values, first_difference, read_entries
from tests.support.trials import Case, Trial
from tests.support.workers import Worker, eventually

pytestmark = pytest.mark.integration
PARTITIONS = 4
TRADES = 14_000
RATE = 3_000
PAUSE_S = 9
INTERVALS = ("500ms", "1s", "5s", "15s", "1m", "5m")
SPREAD = 6  # some five minutes of log time: what the horizon leaves behind is only in the snapshots
HORIZON = {"REVISION_HORIZON_S": "20", "SNAPSHOT_EVERY_S": "0.02"}
CANDLES = tuple(f"candles.{market}.{interval}" for market in ("stocks", "crypto") for interval in INTERVALS)
PROGRESS = {"ratios": "candles.progress.stocks", "trades.crypto": "candles.progress.crypto"}
OTHERS = ("trades.late.stocks", "trades.late.crypto")


@pytest.fixture(scope="module")
def cases(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Ratio and aggregator, each with what one undisturbed worker made of the same log."""
    directory = tmp_path_factory.mktemp("undisturbed")
    log = market_log(TRADES, PARTITIONS, spread=SPREAD)
    stocks, crypto = [e for e in log if e.topic == STOCKS], [e for e in log if e.topic == CRYPTO]
    outputs = (*CANDLES, *PROGRESS.values(), *OTHERS)
    ratio = Case("ratio", PARTITIONS, stocks, ("ratios", "ratio_mark"), {STOCKS: "ratios"}, HORIZON)
    aggregator = Case(
        "aggregator", PARTITIONS, crypto, outputs, PROGRESS, HORIZON | {"INTERVALS": ",".join(INTERVALS)}
    )
    with Trial(kafka, ratio, directory) as first, Trial(kafka, aggregator, directory) as second:
        for trial in (first, second):
            trial.worker()
        first.feed().join()
        ratio.expected = first.finish()
        aggregator.entries = read_entries(kafka, first.namespace, "ratios") + crypto
        second.feed().join()
        aggregator.expected = second.finish()
    for case in (ratio, aggregator):
        counts = {name: (read.raw, read.dropped) for name, read in case.expected.items()}
        print(f"undisturbed {case.service}, {len(case.entries):,} records in; (records, repeats): {counts}")
        assert all(records and not repeats for records, repeats in counts.values())
    return [ratio, aggregator]


def accepted(entries: list[Entry], horizon_us: int) -> list[list[tuple[str, object, int]]]:
    """What ratio has to answer, worked out plainly: (kind, id or clock, offset in trades.stocks), by partition."""
    answers: list[list[tuple[str, object, int]]] = []
    for p in range(PARTITIONS):
        epoch, clock, seen, found = 0, 0, set(), []
        for offset, entry in enumerate(e for e in entries if e.partition == p):
            record = msgspec.json.decode(entry.value or b"")
            if record["epoch"] < epoch:
                continue
            epoch = record["epoch"]
            if record["kind"] == "clock":
                clock = record["ts"]
                found.append(("clock", clock, offset))
                continue
            identity = tuple(record.get(name, 0) for name in ("symbol", "exchange", "id", "correction"))
            if identity not in seen or record["ts"] < clock - horizon_us:
                found.append((record["kind"].replace("trade", "ratio"), record["id"], offset))
            seen.add(identity)
        answers.append(found)
    return answers


def test_every_accepted_record_is_answered_once_in_the_order_of_the_log(cases: list[Case]) -> None:
    ratio = cases[0]
    read = ratio.expected["ratios"].partitions
    found = [
        [(r["kind"], r.get("id", r["ts"]), r["src"][1]) for r in records if not r.get("revision")] for records in read
    ]
    assert found == accepted(ratio.entries, 20 * SECOND_US)
    revised = [r for records in read for r in records if r.get("revision")]
    assert len(revised) > 100
    for p, records in enumerate(read):
        log = [msgspec.json.decode(e.value or b"") for e in ratio.entries if e.partition == p]
        filled = {(r["ts"], r["price"]): at for at, r in enumerate(log) if r.get("backfilled")}
        for record in (r for r in records if r.get("revision")):  # at a clock, by a trade filled in before it
            assert log[record["src"][1]]["kind"] == "clock"
            assert filled[record["btc_ts"], record["btc_price"]] < record["src"][1]
    for p, records in enumerate(read):
        log = [e.value for e in ratio.entries if e.partition == p]
        for record in (r for r in records if r["kind"] != "ratio"):
            passed_on = {name: value for name, value in record.items() if name != "src"}
            assert passed_on == msgspec.json.decode(log[record["src"][1]] or b"")


def side_by_side(scenario: Callable[[Trial], int], kafka: str, cases: list[Case], directory: Path) -> dict[str, int]:
    """Run the scenario on each case at once, as most of it is waiting; the repeats dropped, by service."""

    def run(case: Case) -> int:
        with Trial(kafka, case, directory) as trial:
            return scenario(trial)

    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip((case.service for case in cases), pool.map(run, cases), strict=True))


def test_killed_workers_lose_nothing_and_repeat_nothing(kafka: str, cases: list[Case], tmp_path: Path) -> None:
    def scenario(trial: Trial) -> int:
        feeder = trial.feed(rate=RATE, up_to=0)
        for share, calm_s in ((0.1, 0), (0.35, 1), (0.6, 1)):
            feeder.allow(share + 0.2)
            worker = trial.worker()
            trial.reached(share)
            time.sleep(calm_s)  # time for a snapshot of what it has just done; the first has hardly any
            worker.kill()
        feeder.allow(1)
        trial.worker()
        return trial.compare("killed -9 three times")

    assert side_by_side(scenario, kafka, cases, tmp_path) == {"ratio": 0, "aggregator": 0}
    lines = [line for log in tmp_path.glob("*.log") for line in log.read_text().splitlines()]
    restored = [json.loads(line) for line in lines if '"state restored"' in line]
    assert any(line["symbols"] for line in restored)
    assert any('"restored ahead of the assignment"' in line for line in lines)
    assert any(line["read_again"] < line["position"] // 2 for line in restored), restored


def test_partitions_that_move_are_taken_over_exactly(kafka: str, cases: list[Case], tmp_path: Path) -> None:
    def scenario(trial: Trial) -> int:
        everything = PARTITIONS * len(trial.case.markers)
        feeder = trial.feed(rate=RATE, up_to=0.4)
        first = trial.worker()
        trial.reached(0.2)
        second = trial.worker()
        assert 0 < len(second.wait_for("partitions assigned")["partitions"]) < everything
        feeder.allow(0.7)
        trial.reached(0.5)
        assert first.terminate()[0] == 0
        feeder.allow(1)
        # The group may meet once more before the first is gone from it.
        eventually(
            lambda: len(second.events("partitions assigned")[-1]["partitions"]) == everything,
            "the second worker's having all partitions",
        )
        return trial.compare("second worker joins, first stops")

    side_by_side(scenario, kafka, cases, tmp_path)


def test_a_worker_that_slept_past_its_session_does_no_harm(kafka: str, cases: list[Case], tmp_path: Path) -> None:
    def scenario(trial: Trial) -> int:
        everything = PARTITIONS * len(trial.case.markers)
        first, second = trial.worker(), trial.worker()
        eventually(lambda: holds(first) + holds(second) == everything and holds(first) > 0, "the work is shared")
        feeder = trial.feed(up_to=0.6)
        trial.reached(0.1)
        first.pause()
        paused = time.monotonic()
        takings = len(first.events("partitions assigned"))
        feeder.allow(0.8)
        eventually(lambda: holds(second) == everything, "the other takes over")
        trial.reached(0.7)
        time.sleep(max(0.0, paused + PAUSE_S - time.monotonic()))
        first.resume()
        first.wait_for("partitions assigned", takings + 1)
        feeder.allow(1)
        return trial.compare(f"paused for {PAUSE_S} s")

    side_by_side(scenario, kafka, cases, tmp_path)


def holds(worker: Worker) -> int:
    """How many partitions a worker has been assigned last."""
    assigned = worker.events("partitions assigned")
    return len(assigned[-1]["partitions"]) if assigned else 0


def test_repeats_in_the_input_change_nothing_but_where_it_stood(
    kafka: str, cases: list[Case], tmp_path: Path
) -> None:
    aggregator = cases[1]
    repeating = replace(aggregator, entries=with_repeats(aggregator.entries))
    with Trial(kafka, repeating, tmp_path) as trial:
        trial.feed()
        trial.worker()
        found = trial.finish()
    for name, read in found.items():
        difference = first_difference(unplaced(aggregator.expected[name]), unplaced(read))
        assert difference is None, f"{name} differs in {difference}"


def with_repeats(entries: list[Entry]) -> list[Entry]:
    """Every now and then a paused writer of ratios comes back and adds what stands already."""
    rng = random.Random(5)
    by_partition = [[e for e in entries if e.topic == "ratios" and e.partition == p] for p in range(PARTITIONS)]
    repeating = [e for e in entries if e.topic != "ratios"]
    for records in by_partition:
        for at in sorted(rng.sample(range(300, len(records)), 8), reverse=True):
            records[at:at] = records[at - rng.randrange(1, 300) : at]
        repeating += records
    return repeating


def unplaced(read: Read) -> list[list[Values]]:
    """Without src, which says where in the input the cause stood."""
    return [
        [{name: value for name, value in r.items() if name != "src"} for r in records] for records in read.partitions
    ]
