"""The commands that prepare the servers, and services that are started before there is anything to read."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from market.cli import app
from marketdata.topics import Topics
from tests.support.workers import Worker
from tests.topics import delete_topics

pytestmark = pytest.mark.integration
INTERVALS = "500ms,1s"


def test_topics_are_made_and_a_service_that_waited_for_them_goes_on(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "NAMESPACE": namespace, "PARTITIONS": "2", "INTERVALS": INTERVALS}
    names = [spec.name for spec in Topics(namespace).specs(2, tuple(INTERVALS.split(",")))]
    admin = AdminClient({"bootstrap.servers": kafka})
    try:
        with Worker("services.ratio", kafka, namespace, tmp_path / "ratio.log", PARTITIONS="2") as ratio:
            assert f"{namespace}trades.stocks" in ratio.wait_for("waiting for Kafka")["missing"]
            for _ in range(2):  # a second time changes nothing
                done = CliRunner().invoke(app, ["topics", "create"], env=env)
                assert done.exit_code == 0, done.output
            assert set(names) <= set(admin.list_topics(timeout=10).topics)
            ratio.wait_for("partitions assigned")
            assert ratio.terminate()[0] == 0
        refused = CliRunner().invoke(app, ["topics", "create"], env=env | {"PARTITIONS": "3"})
        assert (refused.exit_code, "has 2 partitions" in refused.output) == (1, True)
    finally:
        delete_topics(admin, names)


def test_a_service_that_waits_for_kafka_can_be_stopped(tmp_path: Path) -> None:
    with Worker("services.aggregator", "127.0.0.1:1", "", tmp_path / "aggregator.log") as waiting:
        waiting.wait_for("waiting for Kafka")
        waiting.child.popen.send_signal(signal.SIGTERM)
        assert waiting.ended(10) == 0


def test_the_tables_are_made_once(database: str) -> None:
    env = {"POSTGRES_DSN": database, "DATABASE_SCHEMA": "prepared"}
    for _ in range(2):
        done = CliRunner().invoke(app, ["db", "migrate"], env=env)
        assert done.exit_code == 0, done.output
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM prepared.ratio_ticks_live").fetchone() == (0,)


def test_a_server_that_does_not_come_is_named() -> None:
    env = {"POSTGRES_DSN": "postgresql://nobody@127.0.0.1:1/market", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    for command, said in ((["db", "migrate"], "the database does not answer"), (["topics", "create"], "Kafka at")):
        refused = CliRunner().invoke(app, [*command, "--wait", "0.5"], env=env)
        assert (refused.exit_code, said in refused.output) == (1, True), refused.output
