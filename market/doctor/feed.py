"""Checks of the feed: the key, the plan of each cluster, the one connection, and the clock.

The vendor says no to a key with 401, to a plan with 403 on REST and with "not authorized" on the socket; a delayed
plan shows by the status DELAYED, or by trades that are a quarter of an hour old while the market is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from market.doctor.report import Finding
from services.ingest.rest import TRADES

ANSWER_S: Final = 10.0
SETTLED_S: Final = 2.5
"""The vendor confirms a subscription first and turns the surplus connection away a moment later."""
DELAYED_S: Final = 600
STOPPED_S: Final = 3_000
DATE_S: Final = 2.0
"""A Date header is in whole seconds, and servers renew it once a second."""
DATE_SLACK_S: Final = 0.125


@dataclass(frozen=True, slots=True)
class Answer:
    """What REST said about one ticker; ``status`` is None where it said nothing. Times in s since the epoch."""

    status: int | None
    text: str = ""
    word: str = ""
    newest: float | None = None
    server: float | None = None
    asked: float = 0.0
    answered: float = 0.0


class _Row(msgspec.Struct):
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None


class _Body(msgspec.Struct):
    status: str = ""
    results: list[_Row] = []
    message: str = ""
    error: str = ""


def ask(base: str, ticker: str, key: str, now: Callable[[], float] = time.time) -> Answer:
    """The newest trade of ``ticker``, as REST tells it to this key."""
    asked = now()
    try:
        with httpx.Client(timeout=ANSWER_S, trust_env="//127.0.0.1" not in base) as client:
            answer = client.get(
                f"{base}{TRADES}{ticker}",
                params={"limit": 1, "order": "desc"},
                headers={"Authorization": f"Bearer {key}"},
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, str(error) or type(error).__name__)
    body = _body(answer.content)
    row = body.results[0] if body.results else _Row()
    newest = row.sip_timestamp or row.participant_timestamp
    return Answer(
        answer.status_code,
        body.message or body.error,
        body.status,
        newest / 1e9 if newest else None,
        _date(answer.headers.get("date", "")),
        asked,
        now(),
    )


def _body(content: bytes) -> _Body:
    try:
        return msgspec.json.decode(content, type=_Body)
    except msgspec.MsgspecError:
        return _Body()


def _date(text: str) -> float | None:
    try:
        found: datetime = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.timestamp()


def check_key(answers: dict[str, Answer], base: str, *, bundled: bool) -> Finding:
    """Whether the feed takes the key."""
    silent = [answer for answer in answers.values() if answer.status is None]
    if silent:
        remedy = "`market run` starts the bundled feed" if bundled else "check the network, or set REST_URL"
        return Finding("key", "fail", f"{base} does not answer: {silent[0].text}", remedy)
    if any(answer.status == 401 for answer in answers.values()):
        return Finding("key", "fail", "the feed does not know this key", "correct POLYGON_API_KEY")
    return Finding("key", "ok", "the bundled feed takes any key" if bundled else "POLYGON_API_KEY is accepted")


def check_plan(market: str, answer: Answer, delay_s: float, *, is_open: bool) -> Finding:
    """What the plan gives of one cluster, and whether the settings say the same."""
    check = f"plan {market}"
    if answer.status == 403:
        text = f"not in the plan: {answer.text or 'forbidden'}"
        return Finding(check, "fail", text, f"a plan that includes {market}, or run without that market")
    if answer.status != 200:
        return Finding(check, "warn", f"REST answered {answer.status} {answer.text}".rstrip(), "try again later")
    if answer.newest is None:
        return Finding(check, "warn", "entitled, but REST knows no trade of the first symbol", "check the symbols")
    age = (answer.server or answer.answered) - answer.newest
    delayed = answer.word == "DELAYED" or (is_open and DELAYED_S <= age < STOPPED_S)
    return _check_delay(market, age, delay_s, is_open=is_open, delayed=delayed)


def _check_delay(market: str, age: float, delay_s: float, *, is_open: bool, delayed: bool) -> Finding:
    check, setting = f"plan {market}", f"{market.upper()}_FEED_DELAY_S"
    if delayed and delay_s < DELAYED_S:
        return Finding(
            check,
            "fail",
            f"delayed: the newest trade is {age / 60:.0f} minutes old",
            f"set {setting}=900 and the delayed {market.upper()}_URL, or take a real-time plan",
        )
    if delayed:
        return Finding(check, "ok", f"delayed by {age / 60:.0f} minutes, as {setting} says")
    if not is_open:
        return Finding(check, "ok", "entitled; real-time or delayed does not show while the market is closed")
    if age >= STOPPED_S:
        return Finding(
            check, "warn", f"the newest trade is {age / 60:.0f} minutes old", "a holiday? check the symbols"
        )
    if delay_s >= DELAYED_S:
        return Finding(check, "warn", "real-time, but the clock waits as for a delayed plan", f"set {setting}=0")
    return Finding(check, "ok", f"real-time: the newest trade is {max(age, 0):.0f} s old")


def check_clock(answers: dict[str, Answer]) -> Finding:
    """Whether this host's clock is that of the feed, as far as whole seconds tell."""
    timed = [answer for answer in answers.values() if answer.server is not None]
    if not timed:
        return Finding("clock", "skip", "the feed tells no time")
    ahead = max(answer.asked - (answer.server or 0) - DATE_S for answer in timed)
    behind = max((answer.server or 0) - answer.answered for answer in timed)
    for off, word in ((ahead, "ahead"), (behind, "behind")):
        if off > DATE_SLACK_S:
            text = f"this host is at least {off:.1f} s {word} of the feed"
            return Finding("clock", "fail", text, "synchronise it (chrony, systemd-timesyncd, ntpd)")
    return Finding("clock", "ok", f"within {DATE_S:g} s of the feed's; ingest measures finer (clock_skew_seconds)")


def check_connection(market: str, url: str, key: str, channel: str) -> Finding:
    """Whether the key's one connection to a cluster can be had: it is taken for some seconds, and given back."""
    check = f"connection {market}"
    try:
        with connect(
            url, open_timeout=ANSWER_S, close_timeout=1, proxy=None if "//127.0.0.1" in url else True
        ) as socket:
            return _dialogue(check, market, socket, key, channel)
    except ConnectionClosed as error:
        close = error.rcvd or error.sent
        text = f"closed by the server: {close.code if close else 1006} {close.reason if close else ''}".rstrip()
        return Finding(check, "fail", text, "try again later; is a second process using the key?")
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        return Finding(
            check, "fail", f"{url} does not answer: {error}", f"check {market.upper()}_URL and the network"
        )


def _dialogue(check: str, market: str, socket: ClientConnection, key: str, channel: str) -> Finding:
    """The vendor's dialogue up to the moment when a surplus connection would have been turned away."""
    deadline = time.monotonic() + ANSWER_S
    settled = False
    while (left := deadline - time.monotonic()) > 0:
        try:
            statuses = _statuses(socket.recv(timeout=left))
        except TimeoutError:
            break
        for status, message in statuses:
            if status == "connected":
                socket.send(msgspec.json.encode({"action": "auth", "params": key}).decode())
            elif status == "auth_success" and not settled:
                socket.send(msgspec.json.encode({"action": "subscribe", "params": channel}).decode())
                settled, deadline = True, time.monotonic() + SETTLED_S
            elif (refusal := _refusal(check, market, status, message)) is not None:
                return refusal
    if settled:
        return Finding(check, "ok", "free: connected, subscribed and given back")
    return Finding(check, "fail", "the server says nothing", f"check {market.upper()}_URL")


def _refusal(check: str, market: str, status: str, message: str) -> Finding | None:
    if status == "max_connections":
        return Finding(check, "fail", "another process uses this key's one connection", "stop it, or use another key")
    if status == "error" and "not authorized" in message:
        return Finding(
            f"plan {market}", "fail", "the plan does not include the socket", f"a plan with {market} streams"
        )
    if status in {"auth_failed", "auth_timeout"}:
        return Finding(check, "fail", f"{status}: {message}", "correct POLYGON_API_KEY; is its plan in force?")
    return None


def _statuses(raw: str | bytes) -> list[tuple[str, str]]:
    try:
        events: list[dict[str, Any]] = msgspec.json.decode(raw, type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        return []
    return [(str(e.get("status")), str(e.get("message"))) for e in events if e.get("ev") == "status"]
