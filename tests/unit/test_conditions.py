"""What sale conditions let a trade update, compared with the vendor's table."""

import csv
from pathlib import Path

import pytest

from marketdata.conditions import EVERYTHING, Updates, updates_of


def test_no_condition_updates_everything() -> None:
    assert updates_of((), regular_hours=True) == EVERYTHING


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((37,), Updates(False, False, True)),  # odd lot: volume only
        ((14, 37), Updates(False, False, True)),  # any "no" wins
        ((10,), Updates(True, False, True)),
        ((15,), Updates(False, False, False)),
        ((38,), Updates(True, True, False)),
        ((999,), EVERYTHING),  # a condition with no rule
    ],
)
def test_table(conditions: tuple[int, ...], expected: Updates) -> None:
    assert updates_of(conditions, regular_hours=True) == expected


def test_form_t_forms_prices_only_outside_regular_hours() -> None:
    assert not updates_of((12,), regular_hours=True).high_low
    assert updates_of((12,), regular_hours=False) == EVERYTHING
    assert not updates_of((12, 37), regular_hours=False).high_low


def test_every_row_of_the_vendors_table(shared_data: Path | None) -> None:
    if shared_data is None:
        pytest.skip("the vendor's table is not bundled: set SHARED_DATA")
    with (shared_data / "sale_conditions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["updates_volume"]]
    assert len(rows) > 40
    for row in rows:
        expected = tuple(row[f"updates_{what}"] == "Y" for what in ("high_low", "open_close", "volume"))
        assert updates_of((int(row["id"]),), regular_hours=True) == expected, row
