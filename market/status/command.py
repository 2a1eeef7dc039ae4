"""The command: who is asked, and in which order it is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from market.shell import DEFAULT_DATA, DataDir, fail
from market.stack import running_servers
from market.status import servers
from market.status.ports import read_ports, service_ports
from market.status.report import Part, as_json, print_table
from market.status.services import service
from marketdata.sessions import market_state
from marketdata.units import SECOND_US
from services.sink.settings import SinkSettings


def status(
    ports: Annotated[str, typer.Option(help="NAME=PORT,NAME=PORT; default: those of the stack that runs")] = "",
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Show health and lag of every part and what the market does; status 1 if something is broken.

    A closed stock market is not broken: ingest then says when it opens.
    """
    try:
        wanted = read_ports(ports) if ports else service_ports(data_dir.absolute())
        settings = _settings(data_dir)
    except ValidationError as error:
        fail(f"the settings are not valid: {error}")
    except ValueError as error:
        fail(str(error))
    parts = examine(wanted, settings)
    if json:
        print(as_json(parts))
    else:
        print_table(parts)
    raise typer.Exit(0 if all(part.ok for part in parts) else 1)


def examine(ports: Mapping[str, int], settings: SinkSettings, now_us: int | None = None) -> list[Part]:
    """Every part in the order in which it is told; ``settings`` say where Kafka and the database are."""
    with ThreadPoolExecutor(len(ports) + 2) as pool:
        asked = [pool.submit(service, name, port) for name, port in ports.items()]
        kafka = pool.submit(
            servers.kafka,
            settings.kafka_bootstrap_servers,
            settings.topics,
            settings.partitions,
            settings.intervals,
        )
        stored = pool.submit(servers.database, settings.postgres_dsn, settings.database_schema)
        found = [one.result() for one in asked]
        database, newest = stored.result()
        parts = [*found, kafka.result(), database]
    if database.ok:
        holder = next((part for part in found if part.name.split("-")[0] == "ingest"), None)
        parts.append(servers.newest_tick(newest, holder))
    return [*parts, market(time.time_ns() // 1_000 if now_us is None else now_us)]


def market(now_us: int) -> Part:
    """The New York stock exchange at ``now_us``; it is never broken."""
    state = market_state(now_us)
    opens = datetime.fromtimestamp(state.opens / SECOND_US, UTC).isoformat()
    return Part("market", True, state.phase, detail=str(state), facts={"opens": opens})


def _settings(data_dir: Path) -> SinkSettings:
    """From the environment; where it does not say, the servers of the stack that runs on ``data_dir``."""
    settings = SinkSettings()
    found = running_servers(data_dir.absolute())
    if found is None:
        return settings
    values = {"postgres_dsn": found.dsn, "kafka_bootstrap_servers": found.bootstrap}
    return settings.model_copy(update={k: v for k, v in values.items() if k not in settings.model_fields_set})
