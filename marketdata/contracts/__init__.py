"""The contracts for other programs, made from the record types: schemas, the AsyncAPI document, what breaks a reader.

Pure: ``market.contracts_cmd`` writes the files under contracts/.
"""

from __future__ import annotations

import json
from typing import Any

from marketdata.contracts.asyncapi import asyncapi, channel_incompatibilities
from marketdata.contracts.compatibility import incompatibilities
from marketdata.contracts.docs import topics_table
from marketdata.contracts.schema import kind_of, schema_of
from marketdata.records import RECORDS

ASYNCAPI_FILE = "asyncapi.json"
SCHEMA_SUFFIX = ".schema.json"


def documents() -> dict[str, str]:
    """The text of each generated file, by its name under contracts/."""
    made: dict[str, dict[str, Any]] = {kind_of(record) + SCHEMA_SUFFIX: schema_of(record) for record in RECORDS}
    made[ASYNCAPI_FILE] = asyncapi()
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in made.items()}


def breaks(baseline: dict[str, str], current: dict[str, str]) -> list[str]:
    """What readers of the released files ``baseline`` (name to text) could not read of ``current``."""
    found = []
    for name, text in sorted(baseline.items()):
        if name not in current:
            found.append(f"{name}: the kind of record is gone")
            continue
        compare = channel_incompatibilities if name == ASYNCAPI_FILE else incompatibilities
        found += [f"{name}: {problem}" for problem in compare(json.loads(text), json.loads(current[name]))]
    return found


__all__ = [
    "ASYNCAPI_FILE", "SCHEMA_SUFFIX", "asyncapi", "breaks", "channel_incompatibilities", "documents",
    "incompatibilities", "kind_of", "schema_of", "topics_table",
]  # fmt: skip
