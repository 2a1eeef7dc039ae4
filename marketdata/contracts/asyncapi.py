"""The AsyncAPI 3.0 document: every topic with its key, partitions, kinds, headers, and the reader's rule."""

from __future__ import annotations

import re
from typing import Any, Final

from marketdata.contracts.channels import CHANNELS, HEADERED, Channel
from marketdata.contracts.schema import kind_of
from marketdata.records import RECORDS, Clock, Record
from marketdata.topics import DEFAULT_INTERVALS

Document = dict[str, Any]
VERSION: Final = "1.0.0"
BINDING: Final = "0.5.0"
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"

RULE: Final = (
    "In each partition of a derived topic accept a record only if its src is greater than that of every record "
    "accepted before (compare the three numbers from left to right, over all kinds together); drop the rest. "
    "Keep the last src with your position."
)
DESCRIPTION: Final = f"""Every trade of BTC-USD and of stocks, joined into stock/BTC ratios and rolled into candles.

A record is one JSON object in UTF-8. Its `kind` says which; skip kinds and fields you do not know. A field that is \
left out has the default its schema names. Times are integers, microseconds since the epoch, UTC.

The reader's rule: {RULE}

Partition = (murmur2(key) & 0x7fffffff) mod P, as Kafka's own clients compute it; a derived record stands in the \
partition of its source record. Clocks and references stand in every partition."""

_PARAMETERS: Final[dict[str, Document]] = {
    "namespace": {
        "default": "",
        "description": "Empty for live data. A replay has its own, with the dot at its end.",
        "examples": ["replay-7f3a."],
    },
    "interval": {
        "description": "Length of the candles; which ones there are is configured.",
        "examples": list(DEFAULT_INTERVALS),
    },
    "service": {
        "description": "The service that could not read the record.",
        "examples": ["ingest", "ratio", "aggregator", "sink"],
    },
}


def asyncapi() -> Document:
    """The whole document; its payloads point to the schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Market data",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "`make run`"}},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {
            f"read{channel.name[0].upper()}{channel.name[1:]}": _operation(channel) for channel in CHANNELS
        },
        "components": {
            "messages": {kind_of(record): _message(record) for record in RECORDS},
            "parameters": _PARAMETERS,
        },
    }  # fmt: skip


def channel_incompatibilities(old: Document, new: Document) -> list[str]:
    """What a reader of the topics of ``old`` would miss in ``new``: topics, kinds, or their keys and places."""
    found: list[str] = []
    for name, known in old["channels"].items():
        now = new["channels"].get(name)
        found += [f"{known['address']}: the topic is gone"] if now is None else _changes(known, now)
    for kind, message in old["components"]["messages"].items():
        if "headers" in message and "headers" not in new["components"]["messages"].get(kind, {}):
            found.append(f"{kind}: no kind header any more")
    return found


def _changes(known: Document, now: Document) -> list[str]:
    words = ("address", "x-key", "x-partitioned-by", "x-derived-from")
    found = [
        f"{word} {known.get(word)!r} became {now.get(word)!r}" for word in words if known.get(word) != now.get(word)
    ]
    found += [f"no {kind} any more" for kind in known["messages"] if kind not in now["messages"]]
    return [f"{known['address']}: {change}" for change in found]


def _channel(channel: Channel) -> Document:
    names = re.findall(r"\{(\w+)\}", channel.address)
    made: Document = {
        "address": channel.address,
        "summary": channel.summary,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {
            kind_of(record): {"$ref": f"#/components/messages/{kind_of(record)}"} for record in channel.records
        },
        "bindings": {"kafka": {"bindingVersion": BINDING} | ({} if channel.by_symbol else {"partitions": 1})},
        "x-key": channel.key,
        "x-partitioned-by": "murmur2 of the symbol" if channel.by_symbol else "one partition",
        "x-written-by": channel.writer,
    }
    if channel.source is not None:
        made |= {"x-derived-from": channel.source, "x-src": channel.src, "x-readers-rule": RULE}
    return made


def _operation(channel: Channel) -> Document:
    """AsyncAPI describes what the application does, which is to send what a reader reads."""
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel.name}"}, "summary": channel.summary}


def _message(record: type[Record]) -> Document:
    kind = kind_of(record)
    key = {"type": "null" if record is Clock else "string"}
    made: Document = {
        "name": kind,
        "title": record.__name__,
        "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./{kind}.schema.json"}},
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING}},
    }
    if record in HEADERED:
        made["headers"] = {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]}
    return made
