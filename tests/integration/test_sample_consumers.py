"""The programs of samples/consumers on a Kafka with TLS, passwords and access control, as the user who only reads."""

from __future__ import annotations

import ast
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from market.native.jars import ensure_jars
from marketdata.records import Candle, PriceBlock, encode
from tests.support.guarded import PASSWORDS, Site, guarded_kafka
from tests.support.workers import eventually

pytestmark = pytest.mark.integration
SAMPLES = Path(__file__).parents[2] / "samples" / "consumers"
NAMESPACE = "desk."
PARTITIONS = 2
START = 1_709_650_800_000_000  # 2024-03-05 15:00 UTC
MINUTE = 60_000_000
TIMEOUT_S = 120
BUILD_TIMEOUT_S = 240  # Go's first build on a machine is half a minute of work for one core
LANGUAGES = pytest.mark.parametrize("language", ["python", "java", "go"])
NotRun = Callable[[str], None]


class Program(NamedTuple):
    """One sample: how it is run, and what builds it meanwhile, if it needs that."""

    command: list[str]
    folder: Path
    build: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        """Once it is built; fails with what the compiler said if that did not work."""
        if self.build is not None and self.build.wait(BUILD_TIMEOUT_S):
            pytest.fail((self.folder / "build.log").read_text()[-4_000:], pytrace=False)
        return True


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, not_run: NotRun) -> Iterator[dict[str, Program]]:
    """Those whose tools this machine has; they are built, outside of the tree, while the broker starts."""
    ensure_jars()  # first, and alone: two Mavens that fetch the same file get in each other's way
    made = {name: tmp_path_factory.mktemp(name) for name in ("python", "java", "go")}
    found: dict[str, Program] = {}
    shutil.copy(SAMPLES / "python" / "candles.py", made["python"])
    found["python"] = Program([sys.executable, "-I", "candles.py"], made["python"])
    if missing := next((tool for tool in ("javac", "mvn") if not shutil.which(tool)), None):
        not_run(f"samples/consumers/java: {missing} is not on PATH")
    else:
        found["java"] = _java(made["java"])
    if not shutil.which("go"):
        not_run("samples/consumers/go: go is not on PATH")
    elif reason := _too_old():
        not_run(f"samples/consumers/go: {reason}")
    else:
        # Without cgo nothing of Go's own library waits for a C compiler: that halves a first build.
        build = ["env", "CGO_ENABLED=0", "go", "build", "-ldflags=-s -w", "-o", str(made["go"] / "candles"), "."]
        found["go"] = Program([str(made["go"] / "candles")], made["go"], _start(build, SAMPLES / "go", made["go"]))
    yield found
    for program in found.values():
        if program.build is not None and program.build.poll() is None:
            program.build.kill()
            program.build.wait()


def _java(folder: Path) -> Program:
    """Built and run as samples/consumers/README.md says."""
    shutil.copy(SAMPLES / "java" / "pom.xml", folder)
    shutil.copytree(SAMPLES / "java" / "src", folder / "src")
    build = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"]
    run = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", "target/classes:target/lib/*", "Candles"]
    return Program(run, folder, _start(build, folder, folder))


def _too_old() -> str | None:
    """Why this Go cannot build the sample, if so."""
    wanted = next(line for line in (SAMPLES / "go" / "go.mod").read_text().splitlines() if line.startswith("go "))[3:]
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    have = version.removeprefix("go").split(" ")[0]
    numbers = [tuple(int(n) for n in one.split(".")[:2] if n.isdigit()) for one in (have, wanted)]
    return f"Go {wanted} is needed, this is {have}" if numbers[0] < numbers[1] else None


def _start(command: list[str], where: Path, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "build.log").open("wb") as log:
        return subprocess.Popen(command, cwd=where, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def site(programs: dict[str, Program]) -> Iterator[Site]:
    assert programs
    with guarded_kafka(PARTITIONS, "500ms,1m", NAMESPACE) as made:
        producer = Producer({"bootstrap.servers": made.open, "log_level": 0})
        for partition in range(PARTITIONS):
            for value, _ in story(partition):
                producer.produce(f"{NAMESPACE}candles.stocks.1m", value, partition=partition)
        assert producer.flush(20) == 0
        yield made


def candle(symbol: str, minute: int, revision: int, src: tuple[int, int, int], **more: Any) -> Candle:
    start = START + minute * MINUTE
    prices = [] if more.pop("empty", False) else [10.5, 12.25, 9.75, 11.0 + revision]
    block = PriceBlock(*(prices or [None] * 4), None, None, 1_200.0 + revision, len(prices), len(prices))  # type: ignore[arg-type]
    fields = {"symbol": symbol, "interval": "1m", "hours": "all", "timestamp_in": start, "end": start + MINUTE,
              "timestamp_out": start + MINUTE, "latency_ms": 0.0, "revision": revision, "price": block,
              "ratio": None, "src": src}  # fmt: skip
    return Candle(**fields | more)


def story(p: int) -> list[tuple[bytes, bool]]:
    """What is written to one partition, and whether a reader who keeps the rules prints it."""
    symbol = f"S{p}"
    first = [
        candle(symbol, 0, 0, (p, 9, 0)),
        candle(symbol, 0, 0, (p, 9, 1), hours="regular"),
        candle(symbol, 1, 0, (p, 30, 2)),
        candle(symbol, 2, 0, (p, 30, 10), empty=True),  # 10 after 2: numbers, not words
    ]
    revised = candle(symbol, 0, 1, (p, 100, 0))
    outdated = candle(symbol, 0, 0, (p, 101, 0))
    foreign = json.dumps({"kind": "novelty", "src": [p, 102, 0], "price": "of another kind"}).encode()
    last = candle(symbol, 3, 0, (p, 103, 0))
    return [
        *((encode(one), True) for one in first),
        *((encode(one), False) for one in first[1:]),  # as a paused writer adds that comes back
        (encode(revised), True),
        (encode(revised), False),
        (encode(outdated), False),
        (foreign, True),
        (foreign, False),
        (encode(last), True),
    ]


def shortened(value: bytes) -> dict[str, Any]:
    """What the samples print of a record."""
    record = json.loads(value)
    if record["kind"] != "candle":
        return dict(record)
    minute = (record["timestamp_in"] - START) // MINUTE
    line = {name: record[name] for name in ("symbol", "interval", "hours", "revision")}
    prices = {name: record["price"][name] for name in ("open", "high", "low", "close", "volume")}
    return line | {"time": f"2024-03-05T15:{minute:02}:00.000Z"} | prices


EXPECTED = [[shortened(value) for value, printed in story(p) if printed] for p in range(PARTITIONS)]
COUNT = str(sum(map(len, EXPECTED)))


def environment(site: Site | None, **more: str) -> dict[str, str]:
    """Ours without settings of Kafka; with those of the reader on the encrypted listener of ``site``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")} | more
    if site is not None:
        env |= {"KAFKA_BOOTSTRAP_SERVERS": site.tls, "KAFKA_SASL_USERNAME": "reader", "KAFKA_SSL_CA": str(site.ca),
                "KAFKA_SASL_PASSWORD": PASSWORDS["reader"]}  # fmt: skip
    return env


def run(
    command: list[str], program: Program, env: dict[str, str], *, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=program.folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def check(output: str) -> None:
    """Each partition's records in their order, each once."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(PARTITIONS)]
    for line in map(json.loads, output.splitlines()):
        found[int(line["symbol"][1:]) if "symbol" in line else line["src"][0]].append(line)
    assert found == EXPECTED


@LANGUAGES
def test_a_reader_sees_each_record_once_and_no_older_revision(
    programs: dict[str, Program], site: Site, language: str
) -> None:
    program = programs.get(language)
    if program is None or not program.ready():
        return  # the summary says why
    arguments = ["--namespace", NAMESPACE, "--from-beginning", "--count", COUNT]
    done = run([*program.command, *arguments], program, environment(site))
    check(done.stdout)
    assert done.stderr == ""


@LANGUAGES
def test_a_connection_without_password_and_tls(programs: dict[str, Program], site: Site, language: str) -> None:
    program = programs.get(language)
    if program is None or not program.ready():
        return
    arguments = ["--from-beginning", "--count", COUNT, f"{NAMESPACE}candles.stocks.1m"]
    command = [*program.command, *arguments]
    if language == "java":  # the other way that the README names
        command = ["mvn", "-q", "compile", "exec:java", f"-Dexec.args={' '.join(arguments)}"]
    output = run(command, program, environment(None, KAFKA_BOOTSTRAP_SERVERS=site.open)).stdout
    check(output.replace("\x1b[0m", ""))  # Debian's Maven colours even a pipe


@LANGUAGES
def test_a_private_topic_is_refused_in_plain_words(programs: dict[str, Program], site: Site, language: str) -> None:
    program = programs.get(language)
    if program is None or not program.ready():
        return
    command = [*program.command, "--namespace", NAMESPACE, "ratio.state"]
    done = run(command, program, environment(site), status=1)
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1].lower()
    assert last.startswith("candles: cannot read desk.ratio.state: ")
    assert "authoriz" in last


NUMBERS = itertools.count(1)


@LANGUAGES
def test_what_comes_is_printed_until_ctrl_c(programs: dict[str, Program], site: Site, language: str) -> None:
    """Without --from-beginning: what stands there already is not printed."""
    program = programs.get(language)
    if program is None or not program.ready():
        return
    topic, producer = "candles.stocks.500ms", Producer({"bootstrap.servers": site.open, "log_level": 0})

    def write(symbol: str) -> None:
        record = candle(symbol, (n := next(NUMBERS)), 0, (0, n, 0), interval="500ms")
        producer.produce(NAMESPACE + topic, encode(record), partition=0)
        assert producer.flush(20) == 0

    write("OLD")
    output, errors = program.folder / "output", program.folder / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        command = [*program.command, "--namespace", NAMESPACE, topic]
        process = subprocess.Popen(  # without our own signals: a shell's background job ignores Ctrl-C
            command, cwd=program.folder, env=environment(site), stdout=out, stderr=err,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )  # fmt: skip
    try:
        eventually(lambda: write("NEW") or output.read_text().count("\n") > 1, errors.read_text, pause=0.25)
        process.send_signal(signal.SIGINT)
        # A JVM that a signal ends says so by its status, however orderly it ended.
        assert process.wait(TIMEOUT_S) == (128 + signal.SIGINT if language == "java" else 0), errors.read_text()
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert {line["symbol"] for line in lines} == {"NEW"}
    assert errors.read_text() == ""


def test_the_python_sample_can_be_copied_out() -> None:
    """It imports nothing but the standard library and the client."""
    tree = ast.parse((SAMPLES / "python" / "candles.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"confluent_kafka"}
