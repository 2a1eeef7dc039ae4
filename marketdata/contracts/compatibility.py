"""Whether a reader of an older schema can read what is written under a newer one.

The rule: each record that the new schema describes must be one that the old one describes, with the same meaning.
More fields are allowed, and so is a field that is always there where it was sometimes left out.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]
_SAYS_NOTHING: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "examples", "$comment"})
_COMPARED: Final = frozenset(
    {"type", "properties", "required", "default", "enum", "const", "anyOf", "items", "prefixItems"}
)
_LOWER_BOUNDS: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER_BOUNDS: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_ABSENT: Final = object()


def incompatibilities(old_schema: Schema, new_schema: Schema) -> list[str]:
    """What a reader of ``old_schema`` cannot read of ``new_schema``: a line each, with the field's path."""
    return _Comparison(old_schema, new_schema).compare(old_schema, new_schema, "")


class _Comparison:
    """Two whole schemas, each with its own definitions."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old_defs: Schema = old.get("$defs", {})
        self._new_defs: Schema = new.get("$defs", {})

    def compare(self, old: Schema, new: Schema, path: str) -> list[str]:
        old, new = _resolved(old, self._old_defs), _resolved(new, self._new_defs)
        if "anyOf" in old or "anyOf" in new:
            return self._alternatives(old, new, path)
        return [
            *_types(old, new, path),
            *_values(old, new, path),
            *self._fields(old, new, path),
            *self._elements(old, new, path),
            *_limits(old, new, path),
        ]

    def _alternatives(self, old: Schema, new: Schema, path: str) -> list[str]:
        """Each new alternative must suit an old one; where none does, the nearest one tells what is wrong."""
        found: list[str] = []
        for option in new.get("anyOf", [new]):
            tried = [self.compare(known, option, path) for known in old.get("anyOf", [old])]
            nearest: list[str] = min(tried, key=len)
            found += nearest
        return found

    def _fields(self, old: Schema, new: Schema, path: str) -> list[str]:
        new_fields, still_required = new.get("properties", {}), set(new.get("required", ()))
        known = old.get("properties", {})
        closed = old.get("additionalProperties") is False
        found = [f"{path}.{name}: readers refuse new fields" for name in new_fields if closed and name not in known]
        for name, field in known.items():
            place = f"{path}.{name}" if path else name
            if name not in new_fields:
                found.append(f"{place}: removed")
                continue
            if name in old.get("required", ()) and name not in still_required:
                found.append(f"{place}: was always there, may now be left out")
            if name not in still_required:
                found += _defaults(field, new_fields[name], place)
            found += self.compare(field, new_fields[name], place)
        return found

    def _elements(self, old: Schema, new: Schema, path: str) -> list[str]:
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        found = [f"{path}: {len(before)} elements became {len(after)}"] if len(before) != len(after) else []
        for n, (known, now) in enumerate(zip(before, after, strict=False)):
            found += self.compare(known, now, f"{path}[{n}]")
        rest, rest_now = old.get("items", True), new.get("items", True)
        if isinstance(rest, dict) and isinstance(rest_now, dict):
            return found + self.compare(rest, rest_now, f"{path}[]")
        return found + ([f"{path}[]: {rest} became {rest_now}"] if rest is not True and rest != rest_now else [])


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    while "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        schema = target | {key: value for key, value in schema.items() if key != "$ref"}
    return schema


def _types(old: Schema, new: Schema, path: str) -> list[str]:
    known, now = old.get("type"), new.get("type")
    if known in {None, now} or (known, now) == ("number", "integer"):
        return []
    return [f"{path or 'the record'}: type {known} became {now or 'any'}"]


def _values(old: Schema, new: Schema, path: str) -> list[str]:
    """A value that is new is one the reader does not know; one that is gone is one it waits for in vain."""
    before, after = _allowed(old), _allowed(new)
    if before is None:
        return []
    if after is None:
        return [f"{path}: any value instead of {before}"]
    found = [f"{path}: value {value!r} is new" for value in after if value not in before]
    return found + [f"{path}: value {value!r} is gone" for value in before if value not in after]


def _allowed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _defaults(old: Schema, new: Schema, path: str) -> list[str]:
    """A field at its default is left out, so another default gives the same JSON another meaning."""
    before, after = old.get("default", _ABSENT), new.get("default", _ABSENT)
    if before is _ABSENT or (before == after and type(before) is type(after)):
        return []
    return [f"{path}: default {before!r} became {'none' if after is _ABSENT else repr(after)}"]


def _limits(old: Schema, new: Schema, path: str) -> list[str]:
    """Bounds may only become narrower. A rule this page does not know may be added, but for how bytes are written."""
    found: list[str] = []
    for word, known in old.items():
        if word in _SAYS_NOTHING | _COMPARED:
            continue
        now = new.get(word)
        narrower = now is not None and (
            (word in _LOWER_BOUNDS and now >= known) or (word in _UPPER_BOUNDS and now <= known)
        )
        if now != known and not narrower:
            found.append(f"{path}: {word} {known!r} became {now!r}")
    if "contentEncoding" in new and "contentEncoding" not in old:
        found.append(f"{path}: contentEncoding {new['contentEncoding']!r} is new")
    return found
