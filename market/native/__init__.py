"""A real Kafka broker and a real PostgreSQL as plain processes, for machines without a Docker engine."""

from market.native.java import check_tools
from market.native.kafka import KafkaBroker
from market.native.ports import choose_port, choose_ports
from market.native.postgres import PostgresServer
from market.native.process import Child, NativeError

__all__ = ["Child", "KafkaBroker", "NativeError", "PostgresServer", "check_tools", "choose_port", "choose_ports"]
