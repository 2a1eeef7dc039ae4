"""Waiting for Kafka, so that a stop is noticed within moments whatever the client library is waiting for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from itertools import count
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaException

T = TypeVar("T")
LOOK_S = 0.1
LONGEST_WAIT_S = 5.0
log = structlog.stdlib.get_logger()


class StoppedError(Exception):
    """The process was asked to end while Kafka or the database was away."""


def answer(future: Future[Any], stop: threading.Event) -> Any:
    """The result of ``future``.

    Raises:
        StoppedError: ``stop`` was set first.
    """
    while not stop.is_set():
        try:
            return future.result(LOOK_S)
        except NotYetError:
            if future.done():
                raise
    raise StoppedError


def aside(work: Callable[[], T], stop: threading.Event) -> T:
    """The result of ``work``, done in a thread of its own, which a stop leaves behind (see ``answer``)."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed over to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, name="aside", daemon=True).start()
    result: T = answer(future, stop)
    return result


def patiently(work: Callable[[], T], stop: threading.Event) -> T:
    """``work`` again and again, with back-off, until Kafka does what it asks.

    Raises:
        StoppedError: ``stop`` was set first.
    """
    for attempt in count():
        try:
            return work()
        except KafkaException as error:
            wait = min(LONGEST_WAIT_S, 0.5 * 2**attempt)
            log.warning("Kafka not available", error=str(error), attempt=attempt + 1, action=f"again in {wait} s")
            if stop.wait(wait):
                raise StoppedError from error
    raise AssertionError("count() has no end")
