"""The parts that dashboards are made of, and how Grafana wants them written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
DATABASE: Final = {"type": "grafana-postgresql-datasource", "uid": "timescaledb"}
SCHEMA_VERSION: Final = 39  # of Grafana 11
WIDTH: Final = 24
Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "table", "heatmap", "candlestick"]


@dataclass(frozen=True, slots=True)
class Query:
    """One query: PromQL with a legend, or SQL."""

    text: str
    legend: str = ""
    sql: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. Widths and heights are Grafana's: 24 columns are a row."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    about: str = ""
    width: int = 8
    height: int = 7
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; ``variables`` are SQL queries by name, the first value is chosen."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    refresh: str = "10s"
    variables: tuple[tuple[str, str], ...] = ()


def prom(*queries: tuple[str, str]) -> tuple[Query, ...]:
    """PromQL and legend of each line."""
    return tuple(Query(text, legend) for text, legend in queries)


def sql(text: str) -> tuple[Query, ...]:
    """One SQL query."""
    return (Query(text, sql=True),)


def rendered(board: Dashboard) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["market-pipeline"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": board.refresh,
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_variable(name, query) for name, query in board.variables]},
        "panels": _placed(board.panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[Json]:
    """Left to right; a panel that does not fit begins the next line."""
    placed, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        placed.append(_panel(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}})
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed


def _panel(panel: Panel, number: int) -> Json:
    source = DATABASE if panel.queries[0].sql else PROMETHEUS
    custom: Json = {}
    if panel.kind == "timeseries":
        custom = {
            "fillOpacity": 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "description": panel.about,
        "datasource": source,
        "targets": [_target(query, chr(ord("A") + n), panel.kind) for n, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": custom}, "overrides": []},
        "options": _options(panel.kind),
    }


def _target(query: Query, letter: str, kind: Kind) -> Json:
    if query.sql:
        how = {"format": "table" if kind in {"table", "stat"} else "time_series", "rawQuery": True}
        return {"refId": letter, "datasource": DATABASE, "rawSql": query.text, **how}
    how = {"format": "heatmap"} if kind == "heatmap" else {}
    instant = {"instant": True} if kind == "stat" else {}
    return (
        {"refId": letter, "datasource": PROMETHEUS, "expr": query.text, "legendFormat": query.legend} | how | instant
    )


def _options(kind: Kind) -> Json:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "textMode": "auto"}
    if kind == "timeseries":
        return {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}}
    if kind == "candlestick":
        return {"mode": "candles+volume", "includeAllFields": False}
    return {}


def _variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": DATABASE,
        "query": query,
        "refresh": 2,
        "sort": 1,
        "current": {},
    }
