"""One JSON Schema (2020-12) for each kind of record, every field described.

A field's description is the clause of the struct's docstring that begins with the field's name, or what FIELDS says.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import msgspec

from marketdata.contracts.fields import FIELDS
from marketdata.records import Record

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = r"``\w+``"
_CLAUSE: Final = re.compile(rf"(?:^|[.;,] )(?={_NAME})")
"""Where a clause about fields begins: at the start, or after a mark, with the name of a field."""
_SUBJECT: Final = re.compile(rf"^{_NAME}(?:(?:, | and ){_NAME})*")
_VERB: Final = re.compile(rf"^{_NAME}(?: is| =|:)? ")


def kind_of(record: type[msgspec.Struct]) -> str:
    """The value of ``kind`` in the JSON of ``record``."""
    return str(record.__struct_config__.tag)


def schema_of(record: type[Record]) -> Schema:
    """The schema of ``record``, whole in itself; a field that it does not name is allowed."""
    (_, made) = msgspec.json.schema_components((record,), ref_template="#/$defs/{name}")
    components: dict[str, Schema] = msgspec.json.decode(msgspec.json.encode(made))  # defaults as JSON has them
    structs = {struct.__name__: struct for struct in (record, *_nested(record))}
    for name, component in components.items():
        _describe(component, structs[name])
    body: Schema = components.pop(record.__name__)
    body["properties"]["kind"] = {"const": kind_of(record), "description": FIELDS["kind"]}
    head: Schema = {"$schema": DIALECT, "$id": f"urn:market-pipeline:record:{kind_of(record)}"}
    return head | body | ({"$defs": components} if components else {})


def descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What is known about each field of ``struct``; a field nobody described is missing."""
    lineage = struct.__mro__
    found: dict[str, str] = {}
    for name in [field.encode_name for field in msgspec.structs.fields(struct)]:
        own = next((FIELDS[key] for c in lineage if (key := f"{c.__name__}.{name}") in FIELDS), None)
        said = next((clause for c in lineage if (clause := _said(c).get(name))), None)
        if text := own or said or FIELDS.get(name):
            found[name] = text
    return found


def _describe(component: Schema, struct: type[msgspec.Struct]) -> None:
    component["description"] = _plain(inspect.getdoc(struct) or "")
    for name, text in descriptions(struct).items():
        component["properties"][name]["description"] = text


def _said(struct: type) -> dict[str, str]:
    """The clauses of a docstring by the fields they begin with."""
    said: dict[str, str] = {}
    for clause in _CLAUSE.split(" ".join((struct.__doc__ or "").split())):
        if subject := _SUBJECT.match(clause):
            names = re.findall(r"``(\w+)``", subject[0])
            said |= dict.fromkeys(names, _sentence(clause if len(names) > 1 else _VERB.sub("", clause)))
    return said


def _sentence(clause: str) -> str:
    text = _plain(clause).rstrip(".") + "."
    return text if "_" in text.split()[0] else text[0].upper() + text[1:]  # the name of a field stays as it is


def _nested(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The structs that stand in fields of ``struct``, and in theirs."""
    types = [field.type for field in msgspec.structs.fields(struct)]
    options = [option for kind in types for option in (kind, *getattr(kind, "__args__", ()))]
    found = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return [inner for option in found for inner in (option, *_nested(option))]


def _plain(text: str) -> str:
    return text.replace("``", "")
