"""The command ``python -m bench pipeline``."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from bench.console import print_report, reported, whole_numbers
from bench.context import PARTITIONS, Choices
from bench.pipeline.measure import measure_pipeline
from bench.pipeline.search import FIRST, HIGHEST, LOWEST, STEP

_SEARCH: Final = (
    "trades a second of the live feed, separated by commas, each a run of its own; without it the highest that is "
    f"sustained is searched for: {FIRST:,} doubled up to {HIGHEST:,} or halved down to {LOWEST:,}, then bisected "
    f"until the lowest that fails is within {STEP:.0%}"
)


def pipeline(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of the table")] = False,
    rates: Annotated[str | None, typer.Option(help=_SEARCH)] = None,
    seconds: Annotated[float, typer.Option(min=5, help="measured at each rate, after 10 s of warm-up")] = 60.0,
    partitions: Annotated[int, typer.Option(min=1, help="of every topic")] = PARTITIONS,
) -> None:
    """The highest rate of trades that the whole pipeline keeps up with, everything on this machine at once.

    Before the first rate everything runs for a minute at the highest that is asked for, at 5,000 before a search:
    servers that were just started do more than their work.
    A rate is sustained when the lags from the feed to the rows and to the candles, and of candles that wait to be
    rows, grow by at most 1 % of it; when what was sent drains within three minutes; and when every trade then stands
    in the log, as a ratio, as a row and in the candles, once.
    Required are 20,000 trades a second; ``missed`` says where that was not reached.
    """
    wanted = whole_numbers(rates) if rates else ()
    report = reported(Choices(seconds=seconds, partitions=partitions), lambda where: measure_pipeline(where, wanted))
    print_report(report, as_json=as_json)
