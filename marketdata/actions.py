"""Splits and changes of symbol: what makes a stock's earlier prices comparable with its later ones.

Days are trading days as ``calendar.trading_day`` numbers them: an action is in force from the first trade of its day.
Source of the splits: the vendor's /v3/reference/splits, or a file written by hand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

HEADER: Final = ("kind", "symbol", "day", "from", "to")
EPOCH: Final = date(1970, 1, 1)
ONE: Final = Fraction(1)
MOST_SHARES, LEAST_SHARES = Decimal(10**9), Decimal("1e-9")
LONGEST_SYMBOL: Final = 32


class ActionsError(ValueError):
    """An action that cannot be, or a file that cannot be read; the message names the line."""


class ConflictError(ActionsError):
    """Two actions that cannot both be; ``action`` is the later one."""

    def __init__(self, message: str, action: Action) -> None:
        super().__init__(message)
        self.action = action


@dataclass(frozen=True, slots=True)
class Split:
    """``old`` shares became ``new`` ones: 1 and 4 in a 4-for-1 split, 10 and 1 in a reverse split."""

    symbol: str
    day: int
    old: Decimal
    new: Decimal

    @property
    def factor(self) -> Fraction:
        """What earlier prices are multiplied by, and earlier volumes divided by."""
        return Fraction(self.old) / Fraction(self.new)


@dataclass(frozen=True, slots=True)
class Rename:
    """The company known as ``old`` trades as ``new`` from ``day`` on."""

    old: str
    new: str
    day: int

    @property
    def symbol(self) -> str:
        """The name it had."""
        return self.old


Action = Split | Rename


class ActionTable:
    """All actions that are known, in order of day, symbol and kind.

    Raises:
        ConflictError: two that cannot both be.
    """

    def __init__(self, actions: Iterable[Action] = ()) -> None:
        self.actions: tuple[Action, ...] = tuple(sorted(actions, key=_order))
        self._splits: dict[str, list[Split]] = {}
        self._renames: dict[str, list[Rename]] = {}
        self._given: dict[str, list[int]] = {}
        self._on: dict[tuple[str, int], tuple[Action, ...]] = {}
        for action in self.actions:
            self._add(action)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActionTable) and self.actions == other.actions

    def __hash__(self) -> int:
        return hash(self.actions)

    def __len__(self) -> int:
        return len(self.actions)

    def factor(self, symbol: str, after_day: int, up_to_day: int) -> Fraction:
        """What makes prices of ``after_day`` prices of ``up_to_day``: the product over the splits after the first.

        ``symbol`` is the name on ``after_day``; where it changes on the way, the splits of the new name count from
        then on. Volumes are divided by it.
        """
        if symbol not in self._splits and symbol not in self._renames:
            return ONE
        product = ONE
        for name, first, last in self._lives(symbol, after_day, up_to_day):
            for split in self._splits.get(name, ()):
                if first <= split.day <= last:
                    product *= split.factor
        return product

    def on(self, symbol: str, day: int) -> tuple[Action, ...]:
        """What befalls ``symbol`` on ``day``: its split, its new name, or that it becomes another company's name."""
        return self._on.get((symbol, day), ())

    def starts_anew(self, symbol: str, after_day: int, up_to_day: int) -> bool:
        """Whether ``symbol`` means another company on ``up_to_day`` than on ``after_day``, or may do so."""
        left = (rename.day for rename in self._renames.get(symbol, ()))
        return any(after_day < day <= up_to_day for day in (*left, *self._given.get(symbol, ())))

    def newest_name(self, symbol: str, day: int) -> str:
        """The name that the company known as ``symbol`` on ``day`` has by now."""
        *_, (name, _, _) = self._lives(symbol, day, 10**9)
        return name

    def _lives(self, symbol: str, after_day: int, up_to_day: int) -> Iterator[tuple[str, int, int]]:
        """Each name in turn with the first and the last day on which its splits count.

        On the day of a change the splits of either name count: it says nothing of which stood in the announcement.
        """
        name, first, after = symbol, after_day + 1, after_day
        while True:
            rename = next((one for one in self._renames.get(name, ()) if one.day > after), None)
            if rename is None or rename.day > up_to_day:
                yield name, first, up_to_day
                return
            yield name, first, rename.day
            name, first, after = rename.new, rename.day, rename.day

    def _add(self, action: Action) -> None:
        for name in names_of(action):
            self._on[name, action.day] = (*self.on(name, action.day), action)
        if isinstance(action, Split):
            same = self._splits.setdefault(action.symbol, [])
            if same and same[-1].day == action.day:
                raise ConflictError(f"{action.symbol} has two splits on {day_text(action.day)}", action)
            same.append(action)
            return
        renames = self._renames.setdefault(action.old, [])
        if renames and renames[-1].day == action.day:
            raise ConflictError(f"{action.old} gets two new names on {day_text(action.day)}", action)
        renames.append(action)
        self._given.setdefault(action.new, []).append(action.day)
        self._check_same_day(action)

    def _check_same_day(self, rename: Rename) -> None:
        both = [name for name in (rename.old, rename.new)
                if any(split.day == rename.day for split in self._splits.get(name, ()))]  # fmt: skip
        if len(both) == 2:
            text = f"{rename.old} becomes {rename.new} on {day_text(rename.day)}: its split stands under both names"
            raise ConflictError(text, rename)


def parse_actions(text: str) -> ActionTable:
    """The table that a CSV text means, its first line ``kind,symbol,day,from,to``; empty lines count for nothing.

    Raises:
        ActionsError: a line cannot be read; the message begins with its number.
    """
    lines = csv.reader(text.splitlines())
    heading = next(lines, None)
    if heading is None or tuple(heading) != HEADER:
        raise ActionsError(f"line 1: the heading must be {','.join(HEADER)}")
    actions: dict[Action, int] = {}
    for cells in lines:
        if not any(cells):
            continue
        action = _action(cells, lines.line_num)
        if action in actions:
            raise ActionsError(f"line {lines.line_num}: the same stands in line {actions[action]}")
        actions[action] = lines.line_num
    try:
        return ActionTable(actions)
    except ConflictError as error:
        raise ActionsError(f"line {actions[error.action]}: {error}") from None


def format_actions(table: ActionTable) -> str:
    """The CSV text of ``table``, the same for the same actions."""
    rows = [",".join(HEADER)]
    for action in table.actions:
        if isinstance(action, Split):
            rows.append(f"split,{action.symbol},{day_text(action.day)},{action.old:f},{action.new:f}")
        else:
            rows.append(f"rename,{action.old},{day_text(action.day)},{action.old},{action.new}")
    return "\n".join(rows) + "\n"


def split_of(symbol: str, day: str, old: str, new: str) -> Split:
    """A split from its texts. Raises ActionsError where one of them cannot be."""
    before, after = _shares(old), _shares(new)
    if before == after:
        raise ActionsError(f"a split from {old} to {new} changes nothing")
    return Split(_symbol(symbol), day_number(day), before, after)


def names_of(action: Action) -> tuple[str, ...]:
    """The symbols that it befalls."""
    return (action.symbol,) if isinstance(action, Split) else (action.old, action.new)


def day_number(text: str) -> int:
    """Days since the epoch of ``YYYY-MM-DD``. Raises ActionsError where it is no day."""
    try:
        if len(text) != 10:
            raise ValueError(text)
        return (date.fromisoformat(text) - EPOCH).days
    except ValueError:
        raise ActionsError(f"{text!r} is no day: write YYYY-MM-DD") from None


def day_text(day: int) -> str:
    """``YYYY-MM-DD`` of days since the epoch."""
    return (EPOCH + timedelta(days=day)).isoformat()


def _action(cells: list[str], line: int) -> Action:
    try:
        if len(cells) != len(HEADER):
            raise ActionsError(f"{len(cells)} cells, where {','.join(HEADER)} are {len(HEADER)}")
        kind, symbol, day, old, new = (cell.strip() for cell in cells)
        if kind == "split":
            return split_of(symbol, day, old, new)
        if kind == "rename":
            return _rename(symbol, day, old, new)
        raise ActionsError(f"the kind is split or rename, not {kind!r}")
    except ActionsError as error:
        raise ActionsError(f"line {line}: {error}") from None


def _rename(symbol: str, day: str, old: str, new: str) -> Rename:
    if _symbol(symbol) != old:
        raise ActionsError(f"a rename of {symbol} is from {symbol}, not from {old!r}")
    if old == new:
        raise ActionsError(f"{old} keeps its name")
    return Rename(old, _symbol(new), day_number(day))


def _symbol(text: str) -> str:
    if not text or len(text) > LONGEST_SYMBOL or not text.isprintable() or set(text) & set(' ,"'):
        raise ActionsError(f"{text!r} is no symbol")
    return text


def _shares(text: str) -> Decimal:
    try:
        shares = Decimal(text)
        if LEAST_SHARES <= shares <= MOST_SHARES:
            return shares.normalize()
    except InvalidOperation:
        pass
    raise ActionsError(f"{text!r} is no number of shares")


def _order(action: Action) -> tuple[int, bool, str]:
    return action.day, isinstance(action, Rename), action.symbol
