"""The image and the compose file, as far as they can be judged without a Docker engine."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
PROGRAMS = Path(sys.executable).parent
PINNED = ("build.txt", "runtime.txt", "dev.txt")
SECRETS = {
    "POSTGRES_PASSWORD": "first0secret",
    "GRAFANA_PASSWORD": "second0secret",
    "POLYGON_API_KEY": "third0secret",
}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in SECRETS} | environment
    return subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, check=False)


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # The example's settings, whatever a .env beside it says.
    files = ("--env-file", COMPOSE / ".env.example", "--file", COMPOSE / "compose.yaml")
    return run(PROGRAMS / "docker-compose", *files, *arguments, **environment)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    done = compose("--profile", "*", "config", "--format", "json", **SECRETS)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def test_hadolint_finds_nothing() -> None:
    done = run(PROGRAMS / "hadolint", ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_needs_no_buildkit_and_no_shell() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"<<-?['\"]?\w|^#\s*syntax|--mount", text, re.MULTILINE)
    final = text.rpartition("\nFROM ")[2]
    assert not re.search(r"^RUN", final, re.MULTILINE), "what is run belongs into the first stage"
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    for instruction in ("ENTRYPOINT ", "CMD ", "  CMD "):
        assert all(line.startswith(f"{instruction}[") for line in final.splitlines() if line.startswith(instruction))


def test_everything_copied_is_sent_to_the_engine() -> None:
    sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize("name", PINNED)
def test_requirements_have_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"://|^--?(index|extra|find|f |i )", text, re.MULTILINE)
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+(\[\w+\])?==\S+", block), block
        assert "--hash=sha256:" in block


def test_the_image_has_every_requirement_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=]", wanted)[0].replace("_", "-").lower() for wanted in project["dependencies"]}
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE))
    assert names <= pinned


@pytest.mark.parametrize("profiles", ["demo,candles,monitoring", "demo,ticks", "real,candles", "real,ticks", ""])
def test_compose_accepts_every_mode(profiles: str) -> None:
    done = compose("config", "--quiet", COMPOSE_PROFILES=profiles, **SECRETS)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_names_the_password_that_is_missing() -> None:
    done = compose("config", "--quiet")
    assert done.returncode != 0
    assert "POSTGRES_PASSWORD is missing" in done.stderr
    assert ".env.example" in done.stderr


def test_no_secret_stands_in_the_file() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    for line in text.splitlines():
        if re.search(r"(PASSWORD|PASS|API_KEY)\b", line):
            assert "${" in line, line


def test_every_container_is_locked_down(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert re.search(r":v?\d+\.\d+\.\d+(-pg\d+)?$", service["image"]), f"{name}: {service['image']} is not pinned"
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
        assert "privileged" not in service
        assert service.get("network_mode") is None


def test_a_service_starts_when_what_it_needs_is_healthy(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", f"{name} needs {needed}"
            assert "healthcheck" in services[needed], f"{name} waits for {needed}, which has no check"
    assert set(services["sink"]["depends_on"]) == {"kafka", "database"}


def test_a_busy_machine_has_three_minutes_for_each_start(services: dict[str, dict[str, Any]]) -> None:
    checks = {name: service["healthcheck"] for name, service in services.items() if "healthcheck" in service}
    assert {name: check["start_period"] for name, check in checks.items()} == dict.fromkeys(checks, "3m0s")
    assert "--start-period=180s " in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--mode", "minutes"], "--mode is candles or ticks"),
        (["--feed", "other"], "--feed is demo or real"),
        (["--symbol", "mara; ls"], "stocks such as"),
        (["--duration", "0"], "whole seconds"),
        (["--duration"], "needs a value"),
        (["--verbose"], "unknown option"),
    ],
)
def test_deploy_refuses_what_it_does_not_know(arguments: list[str], reason: str) -> None:
    done = run(COMPOSE / "deploy.sh", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


def test_deploy_is_clean_and_tells_its_options() -> None:
    assert run(PROGRAMS / "shellcheck", COMPOSE / "deploy.sh").stdout == ""
    said = run(COMPOSE / "deploy.sh", "--help").stdout
    assert all(option in said for option in ("--mode", "--symbol", "--duration", "--help"))


DOCKER = """#!/usr/bin/env bash
# Stands in for the engine: writes down what it is asked for, and with which settings.
echo "$COMPOSE_PROFILES|$SYMBOLS|$MARKET_VERSION|$*" >>"$CALLS"
case "$*" in
  "compose config --services") printf '%s\\n' kafka sink ;;
  *" ps --all --services") printf '%s\\n' kafka sink aggregator ;;
esac
"""


def test_deploy_starts_the_mode_and_stops_after_the_duration(tmp_path: Path) -> None:
    folder = tmp_path / "deploy" / "compose"
    folder.mkdir(parents=True)
    for name in ("deploy.sh", ".env.example", "compose.yaml"):
        (folder / name).write_bytes((COMPOSE / name).read_bytes())
    (tmp_path / "pyproject.toml").write_text('version = "1.2.3"\n')
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    calls = tmp_path / "calls"
    options = ["--mode", "ticks", "--symbol", "MARA", "--symbol", "RIOT", "--duration", "1", "--no-monitoring"]
    done = run("bash", folder / "deploy.sh", *options, PATH=f"{tmp_path}:{os.environ['PATH']}", CALLS=str(calls),
               SYMBOLS="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = calls.read_text().splitlines()
    up = next(i for i, call in enumerate(asked) if " up " in call)
    assert asked[up].startswith("demo,ticks|MARA,RIOT|1.2.3|compose up")
    assert any(call.endswith("rm --stop --force aggregator") for call in asked[:up]), (
        "of an earlier run in candles mode"
    )
    assert asked[-1].endswith("compose --profile * down")
    assert "volumes" not in asked[-1]
    settings = (folder / ".env").read_text()
    assert re.search(r"^POSTGRES_PASSWORD=[0-9a-f]{32}$", settings, re.MULTILINE)
    assert (folder / ".env").stat().st_mode & 0o077 == 0
