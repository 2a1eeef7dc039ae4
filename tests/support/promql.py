"""Which series a PromQL expression asks for."""

from __future__ import annotations

import re

_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\b\d[\w.]*|(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<matchers>\{[^}]*\})?(?P<call>\s*\()?'
)
_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "group_left", "group_right", "inf", "nan"})


def selectors(expression: str) -> set[str]:
    """The metric selectors of ``expression``, each with its matchers: ``up{job="ratio"}``."""
    found = set()
    for token in _TOKEN.finditer(_GROUPING.sub(" ", expression)):
        name = token["name"]
        if name and name.lower() not in _KEYWORDS and (token["matchers"] or not token["call"]):
            found.add(name + (token["matchers"] or ""))
    return found


def names(expression: str) -> set[str]:
    """The metrics of ``expression`` by name."""
    return {selector.partition("{")[0] for selector in selectors(expression)}
