"""The contracts: generated as committed, readable beside the released ones, and each kind of break is seen."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from market.contracts_cmd import REMEDY, ROOT, baseline_breaks, differences, release, write
from marketdata.contracts import (
    ASYNCAPI_FILE,
    SCHEMA_SUFFIX,
    asyncapi,
    breaks,
    channel_incompatibilities,
    documents,
    incompatibilities,
    kind_of,
    schema_of,
)
from marketdata.contracts.channels import CHANNELS
from marketdata.records import RECORDS, Band, Candle, Clock, DeadLetter, Gap, Ratio, Record, Reference, Trade
from marketdata.topics import Topics

Schema = dict[str, Any]


def test_the_committed_files_are_what_the_records_say() -> None:
    assert differences() == [], REMEDY


def test_readers_of_the_released_contracts_can_read_the_present_ones() -> None:
    assert baseline_breaks() == [], "an existing reader would break: see contracts/README.md, What may change"


def test_the_baseline_holds_every_file() -> None:
    assert {path.name for path in (ROOT / "contracts" / "baseline").glob("*.json")} >= {
        ASYNCAPI_FILE,
        "trade.schema.json",
    }


@pytest.mark.parametrize("record", RECORDS, ids=kind_of)
def test_a_schema_is_valid_and_says_all(record: type[Record]) -> None:
    schema = schema_of(record)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f":{kind_of(record)}")
    assert schema["title"] == record.__name__
    assert schema["properties"]["kind"]["const"] == kind_of(record)
    mandatory = [f.encode_name for f in msgspec.structs.fields(record) if f.required]
    assert schema["required"] == ["kind", *mandatory]
    assert "additionalProperties" not in schema


@pytest.mark.parametrize("record", RECORDS, ids=kind_of)
def test_every_field_is_described(record: type[Record]) -> None:
    schema = schema_of(record)
    for title, part in {record.__name__: schema, **schema.get("$defs", {})}.items():
        bare = [name for name, field in part["properties"].items() if not field.get("description")]
        assert not bare, f"say in the docstring of {title}, or in marketdata/contracts/fields.py, what {bare} mean"


def test_docstring_clauses_describe_fields() -> None:
    fields = schema_of(Trade)["properties"]
    assert fields["side"]["description"] == "The crypto taker's side (0 unknown, 1 sell, 2 buy)."
    assert schema_of(Reference)["properties"]["side"] == fields["side"]  # inherited
    assert schema_of(Gap)["properties"]["status"]["description"] == "Open, filled or given_up."
    blocks = schema_of(Candle)["$defs"]
    assert blocks["PriceBlock"]["properties"]["tick_count"]["description"] == "Counts price-forming trades."
    assert "``" not in json.dumps([schema_of(record) for record in RECORDS])


def test_every_topic_to_create_has_one_channel_and_the_other_way_round() -> None:
    patterns = {c.name: re.sub(r"\\\{\w+\\\}", r"[A-Za-z0-9]+", re.escape(c.address)) for c in CHANNELS}
    specs = [spec for spec in Topics("ns").specs(6) if spec.public]
    matches = {s.name: [c for c in CHANNELS if re.fullmatch(patterns[c.name], s.name)] for s in specs}
    assert {name: len(found) for name, found in matches.items()} == dict.fromkeys(matches, 1)
    assert {found[0].name for found in matches.values()} == {c.name for c in CHANNELS}
    for spec in specs:
        assert matches[spec.name][0].by_symbol == (spec.partitions == 6), spec.name


def test_a_channel_is_derived_exactly_if_its_records_carry_src() -> None:
    for channel in CHANNELS:
        carries = {r for r in channel.records if "src" in r.__struct_fields__}
        optional = carries & {Band, Clock, Reference}  # passed on: they have src on ratios only
        if channel.source is None:
            assert carries == optional, channel.address
        else:
            assert carries == set(channel.records), channel.address


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document, files = asyncapi(), documents()
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(found) > 30
    for reference in found:
        if reference.startswith("./"):
            assert reference[2:] in files
            continue
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_asyncapi_names_key_kinds_headers_and_rule() -> None:
    document = asyncapi()
    ratios = document["channels"]["ratios"]
    assert ratios["address"] == "{namespace}ratios"
    assert list(ratios["messages"]) == ["ratio", "clock", "reference", "band"]
    assert ratios["x-key"] == "symbol"
    assert ratios["x-derived-from"] == "{namespace}trades.stocks"
    assert "accept a record only if its src is greater" in ratios["x-readers-rule"]
    assert document["components"]["messages"]["ratio"]["headers"]["required"] == ["kind"]
    assert document["components"]["messages"]["clock"]["bindings"]["kafka"]["key"] == {"type": "null"}
    assert "x-readers-rule" not in document["channels"]["tradesStocks"]


INT: Schema = {"type": "integer"}
NULL: Schema = {"type": "null"}
TEXT: Schema = {"type": "string"}
TUPLE: Schema = {"type": "array", "items": False}
BASE: Schema = {
    "type": "object",
    "properties": {
        "kind": {"const": "thing"},
        "a": {"type": "integer", "minimum": 0},
        "b": {"type": "string", "default": ""},
        "c": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "d": {"enum": ["x", "y"]},
        "e": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}], "items": False},
        "f": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
        "g": {"type": "array", "items": {"type": "integer"}},
        "h": {"type": "string", "contentEncoding": "base64"},
    },
    "required": ["kind", "a", "d", "e", "f"],
    "$defs": {"Inner": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}},
}


def field(name: str, value: Schema) -> Callable[[Schema], None]:
    return lambda schema: schema["properties"].__setitem__(name, value)


BREAKS: dict[str, tuple[Callable[[Schema], object], str]] = {
    "removed field": (lambda s: s["properties"].pop("b"), "b: removed"),
    "renamed kind": (field("kind", {"const": "other"}), "kind: value 'other' is new"),
    "kind no longer fixed": (field("kind", {"type": "string"}), "kind: any value"),
    "another type": (field("a", {"type": "string", "minimum": 0}), "a: type integer became string"),
    "a wider type": (field("a", {"type": "number", "minimum": 0}), "a: type integer became number"),
    "any type": (field("a", {"minimum": 0}), "a: type integer became any"),
    "null where there was none": (
        field("a", {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}), "a: type integer became null",
    ),
    "another type beside null": (
        field("c", {"anyOf": [TEXT, NULL], "default": None}), "c: type number became string",
    ),
    "required became optional": (lambda s: s["required"].remove("a"), "a: was always there"),
    "another default": (field("b", {"type": "string", "default": "?"}), "b: default '' became '?'"),
    "a default of another type": (field("b", TEXT | {"default": None}), "b: default '' became None"),
    "no default": (field("b", {"type": "string"}), "b: default '' became none"),
    "an enumerated value more": (field("d", {"enum": ["x", "y", "z"]}), "d: value 'z' is new"),
    "an enumerated value less": (field("d", {"enum": ["x"]}), "d: value 'y' is gone"),
    "no enumeration": (field("d", {"type": "string"}), "d: any value"),
    "a longer tuple": (
        field("e", TUPLE | {"prefixItems": [INT] * 3}), "e: 2 elements became 3",
    ),
    "another element": (
        field("e", TUPLE | {"prefixItems": [INT, TEXT]}),
        "e[1]: type integer became string",
    ),
    "more elements after the tuple": (
        field("e", {"type": "array", "prefixItems": [{"type": "integer"}] * 2}), "e[]: False became True",
    ),
    "another item": (field("g", {"type": "array", "items": {"type": "number"}}), "g[]: type integer became number"),
    "a break inside": (lambda s: s["$defs"]["Inner"]["properties"].pop("n"), "f.n: removed"),
    "a type inside": (lambda s: s["$defs"]["Inner"]["properties"]["n"].update(type="string"), "f.n: type number"),
    "a lower bound given up": (field("a", {"type": "integer", "minimum": -1}), "a: minimum 0 became -1"),
    "bytes written otherwise": (field("h", {"type": "string"}), "h: contentEncoding 'base64' became None"),
    "text written as bytes": (
        field("b", TEXT | {"default": "", "contentEncoding": "base64"}), "b: contentEncoding 'base64' is new",
    ),
    "a rule unknown here": (field("h", {"type": "string", "contentEncoding": "base16"}), "contentEncoding"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_seen(name: str) -> None:
    change, expected = BREAKS[name]
    changed = copy.deepcopy(BASE)
    change(changed)
    found = incompatibilities(BASE, changed)
    assert any(expected in problem for problem in found), found


FINE: dict[str, Callable[[Schema], object]] = {
    "nothing": lambda s: None,
    "a new optional field": field("new", {"type": "string", "default": ""}),
    "a new field always there": lambda s: (field("new", {"type": "string"})(s), s["required"].append("new")),
    "optional became required": lambda s: (s["properties"]["b"].pop("default"), s["required"].append("b")),
    "a narrower number": field("c", {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}),
    "no null any more": field("f", {"$ref": "#/$defs/Inner"}),
    "a field more inside": lambda s: s["$defs"]["Inner"]["properties"].update(m={"type": "string"}),
    "a narrower bound": field("a", {"type": "integer", "minimum": 5}),
    "words": lambda s: s.update(title="T", description="D"),
    "one-valued enum for const": field("kind", {"enum": ["thing"]}),
}


@pytest.mark.parametrize("name", FINE)
def test_what_readers_can_read_is_no_break(name: str) -> None:
    changed = copy.deepcopy(BASE)
    FINE[name](changed)
    assert incompatibilities(BASE, changed) == []


def test_a_reader_that_refuses_new_fields_is_respected() -> None:
    closed = BASE | {"additionalProperties": False}
    changed = copy.deepcopy(closed)
    changed["properties"]["new"] = {"type": "string"}
    assert any("new" in problem for problem in incompatibilities(closed, changed))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["channels"].pop("ratios"), "{namespace}ratios: the topic is gone"),
        (lambda d: d["channels"]["ratios"].update(address="{namespace}ratio"), "address"),
        (lambda d: d["channels"]["ratios"].update({"x-key": "id"}), "x-key 'symbol' became 'id'"),
        (lambda d: d["channels"]["ratios"].pop("x-derived-from"), "x-derived-from"),
        (lambda d: d["channels"]["ratios"]["messages"].pop("clock"), "no clock any more"),
        (lambda d: d["components"]["messages"]["trade"].pop("headers"), "trade: no kind header any more"),
    ],
)
def test_a_break_of_a_topic_is_seen(change: Callable[[Schema], object], expected: str) -> None:
    changed = asyncapi()
    changed = copy.deepcopy(changed)
    change(changed)
    assert any(expected in problem for problem in channel_incompatibilities(asyncapi(), changed))
    assert channel_incompatibilities(asyncapi(), asyncapi()) == []


def test_a_change_of_a_record_type_is_held_against_the_baseline() -> None:
    class Narrow(Record, tag="gap", frozen=True, gc=False):  # Gap without its status
        cluster: str
        start: int
        end: int | None
        epoch: int
        trades: int = 0

    released = documents()
    changed = released | {"gap" + SCHEMA_SUFFIX: json.dumps(schema_of(Narrow))}
    assert breaks(released, changed) == ["gap.schema.json: status: removed"]
    del changed["clock" + SCHEMA_SUFFIX]
    assert "clock.schema.json: the kind of record is gone" in breaks(released, changed)


def test_write_check_and_release_on_a_directory(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "topics.md"
    page.write_text("before\n<!-- topics: made by `make contracts` -->\nold\n<!-- end of topics -->\nafter\n")
    assert len(differences(tmp_path)) == len(RECORDS) + 2
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "gone.schema.json").write_text("{}")
    write(tmp_path)
    assert differences(tmp_path) == []
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("-->\nafter\n")
    assert "old" not in page.read_text().splitlines()
    assert not (tmp_path / "contracts" / "gone.schema.json").exists()

    release(tmp_path)
    assert baseline_breaks(tmp_path) == []
    place = tmp_path / "contracts" / "baseline" / "ratio.schema.json"
    place.write_text(place.read_text().replace('"btc_price"', '"coin_price"'))
    assert baseline_breaks(tmp_path) == ["ratio.schema.json: coin_price: removed"]
    (tmp_path / "contracts" / "ratio.schema.json").write_text("{}")
    assert len(differences(tmp_path)) == 1
    assert REMEDY in differences(tmp_path)[0]


def test_ratio_and_dead_letter_as_readers_meet_them() -> None:
    assert {"ratio", "btc_price", "reason"} <= set(schema_of(Ratio)["required"])  # null is written out
    assert schema_of(DeadLetter)["properties"]["raw"]["contentEncoding"] == "base64"
