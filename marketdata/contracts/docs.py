"""The table of topics for docs/topics.md."""

from __future__ import annotations

from marketdata.contracts.channels import CHANNELS, Channel
from marketdata.contracts.schema import kind_of

_HEAD = (
    "| topic | holds | key | kinds | partitions | written by | derived from | `src` points to |\n"
    + "|---" * 8
    + "|\n"
)


def topics_table() -> str:
    """One row a topic, without the namespace; Markdown."""
    return _HEAD + "".join(_row(channel) for channel in sorted(CHANNELS, key=lambda channel: channel.address))


def _row(channel: Channel) -> str:
    kinds = ", ".join(f"`{kind_of(record)}`" for record in channel.records)
    derived = _code(channel.source) if channel.source else "no"
    key = f"`{channel.key}`" if " " not in channel.key else channel.key
    cells = [_code(channel.address), channel.summary, key, kinds, "P" if channel.by_symbol else "1", channel.writer,
             derived, channel.src or "no `src`"]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def _code(address: str) -> str:
    name = address.removeprefix("{namespace}").replace("{", "<").replace("}", ">")
    return f"`{name}`"
