"""Commands that prepare the servers and end, for whoever starts the services one by one: topics, and tables."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Final, Literal

import psycopg
import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from market.grants import grant, pipeline_acls, reader_acls
from market.shell import fail, say
from services.sink.database import Database
from services.sink.migrate import MigrationChangedError
from services.sink.patience import StoppedError
from services.sink.settings import SinkSettings
from streaming.admin import BROKERS_CHOICE, PartitionMismatchError, ensure_topics
from streaming.kafkaclient import client_config

topics_app = typer.Typer(no_args_is_help=True, help="Kafka's topics.")
db_app = typer.Typer(no_args_is_help=True, help="The database's tables.")
PROBE_S: Final = 2.0
PAUSE_S: Final = 1.0
Wait = Annotated[float, typer.Option(min=0, help="seconds to wait for the server to answer")]


@db_app.callback()
def _group() -> None:
    """A group of commands, although it has only one."""


@topics_app.command("create")
def create_topics(
    replication: Annotated[
        int, typer.Option(min=BROKERS_CHOICE, help="copies of each; -1: the broker's default.replication.factor")
    ] = BROKERS_CHOICE,
    wait: Wait = 120,
) -> None:
    """Create every topic that is missing, as PARTITIONS, INTERVALS and NAMESPACE say, and check the others."""
    settings = _settings()
    specs = settings.topics.specs(settings.partitions, settings.intervals)
    bootstrap, deadline = settings.kafka_bootstrap_servers, time.monotonic() + wait
    try:
        _await_kafka(bootstrap, deadline)
        ensure_topics(bootstrap, specs, replication=replication)
    except (KafkaException, PartitionMismatchError) as error:
        fail(f"Kafka at {bootstrap}: {error}")
    say(f"{len(specs)} topics are there, {settings.partitions} partitions each where keyed by symbol")


@topics_app.command("grant")
def grant_access(
    user: Annotated[str, typer.Argument(help="the user as Kafka knows it")],
    role: Annotated[Literal["reader", "pipeline"], typer.Option(help="reads the public topics, or runs services")],
    groups: Annotated[str, typer.Option(help="what names of a reader's consumer groups begin with")] = "reader",
) -> None:
    """Let a user of a Kafka with access control in; nothing that is granted already is taken away."""
    settings = _settings()
    bootstrap, specs = (
        settings.kafka_bootstrap_servers,
        settings.topics.specs(settings.partitions, settings.intervals),
    )
    acls = reader_acls(user, specs, groups) if role == "reader" else pipeline_acls(user, settings.topics)
    try:
        grant(bootstrap, acls)
    except KafkaException as error:
        fail(f"Kafka at {bootstrap}: {error}")
    say(f"{user} is let in as {role}: {len(acls)} rules")


@db_app.command("migrate")
def migrate(wait: Wait = 120) -> None:
    """Bring the tables up to date, as the sink does at its start. While it runs, an older sink can go on writing."""
    settings = _settings()
    late = threading.Event()
    timer = threading.Timer(wait, late.set)
    timer.daemon = True
    timer.start()
    database = Database(settings, late)
    try:
        database.prepare()
    except StoppedError:
        fail(f"the database does not answer within {wait:g} s")
    except (psycopg.Error, MigrationChangedError) as error:
        fail(f"the database refused: {error}")
    finally:
        timer.cancel()
        database.close()
    say(f"schema {settings.database_schema} is up to date")


def _settings() -> SinkSettings:
    try:
        return SinkSettings()
    except ValidationError as error:
        fail(f"the settings are wrong\n{error}")


def _await_kafka(bootstrap: str, deadline: float) -> None:
    admin = AdminClient(client_config(bootstrap, {"log_level": 0}))
    while True:
        try:
            admin.list_topics(timeout=PROBE_S)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)
        else:
            return
