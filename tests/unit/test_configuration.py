"""docs/configuration.md names every setting with its default."""

from pathlib import Path

import pytest

from services.aggregator.settings import AggregatorSettings
from services.ingest.settings import IngestSettings
from services.ratio.settings import RatioSettings
from services.sink.settings import SinkSettings
from streaming.settings import ServiceSettings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
SECTIONS = {
    "Every service": ServiceSettings,
    "Ingest": IngestSettings,
    "Ratio": RatioSettings,
    "Aggregator": AggregatorSettings,
    "Sink": SinkSettings,
}


def section(title: str) -> str:
    return PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_setting_is_in_its_table(title: str) -> None:
    common = set() if title == "Every service" else set(ServiceSettings.model_fields)
    text = section(title)
    for name in set(SECTIONS[title].model_fields) - common:
        assert f"`{name.upper()}`" in text, f"{name.upper()} is missing under {title}"


@pytest.mark.parametrize("title", SECTIONS)
def test_no_table_names_a_setting_that_does_not_exist(title: str) -> None:
    for line in section(title).splitlines():
        if line.startswith("| `"):
            for name in line.split("|")[1].replace("`", "").split(","):
                assert name.strip().lower() in SECTIONS[title].model_fields, name


def test_numbers_in_the_tables_are_the_defaults() -> None:
    for title, settings in SECTIONS.items():
        for line in section(title).splitlines():
            cells = [cell.strip().strip("`") for cell in line.split("|")[1:3]]
            if len(cells) == 2 and cells[1].replace(".", "", 1).isdigit():
                default = settings.model_fields[cells[0].split("`")[0].lower()].default
                assert float(default) == float(cells[1]), line


def test_a_secret_is_not_shown() -> None:
    assert "hidden" not in repr(IngestSettings(polygon_api_key="hidden"))  # type: ignore[arg-type]
