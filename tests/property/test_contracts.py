"""Whatever a record holds, its JSON is valid under its schema, and under no other, and reads back the same."""

from __future__ import annotations

import functools
import json
import operator
import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from marketdata.contracts import kind_of, schema_of
from marketdata.records import RECORDS, Record, encode

INT64 = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: INT64,
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(codec="utf-8"), max_size=20),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    type(None): st.none(),
}
decode = msgspec.json.Decoder(functools.reduce(operator.or_, RECORDS)).decode


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    options = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return st.one_of([values(option) for option in options])
    if typing.get_origin(kind) is typing.Annotated:
        (limits,) = kind.__metadata__
        least = limits.gt if limits.ge is None else limits.ge
        if options[0] is int:
            return st.integers(least, limits.lt - 1)
        return st.floats(least, limits.lt, exclude_min=limits.ge is None, exclude_max=True)
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(options)
    assert typing.get_origin(kind) is tuple, kind
    if options[-1] is Ellipsis:
        return st.lists(values(options[0]), max_size=4).map(tuple)
    return st.tuples(*[values(option) for option in options])


def structs(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Records with every field at random, so that a default is left out and any other value written."""
    fields = msgspec.structs.fields(struct)
    required = {f.name: values(f.type) for f in fields if f.required}
    optional = {f.name: values(f.type) for f in fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda chosen: struct(**chosen))


schema = functools.cache(schema_of)


@functools.cache
def validator(record: type[Record]) -> Validator:
    return Draft202012Validator(schema(record))


every_kind = pytest.mark.parametrize("record", RECORDS, ids=kind_of)


@every_kind
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_record_is_valid_and_reads_back_the_same(record: type[Record], data: st.DataObject) -> None:
    made = data.draw(structs(record))
    text = encode(made)
    validator(record).validate(json.loads(text))
    assert decode(text) == made
    for other in RECORDS:
        assert validator(other).is_valid(json.loads(text)) == (other is record)


@every_kind
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_more_fields_are_allowed_and_missing_or_wrong_ones_are_not(record: type[Record], data: st.DataObject) -> None:
    made = json.loads(encode(data.draw(structs(record))))
    validator(record).validate(made | {"a_field_of_tomorrow": [1]})
    name = data.draw(st.sampled_from(schema(record)["required"]))
    assert not validator(record).is_valid({key: value for key, value in made.items() if key != name})
    assert not validator(record).is_valid(made | {name: {"not": "this"}})


@every_kind
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_field_left_out_has_the_default_of_the_schema(record: type[Record], data: st.DataObject) -> None:
    made = data.draw(structs(record))
    written = json.loads(encode(made))
    for name, field in schema(record)["properties"].items():
        if name in written:
            continue
        assert field["default"] == json.loads(msgspec.json.encode(getattr(made, name)))
