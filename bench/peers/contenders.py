"""Who takes part in a contest: the product's service under some settings, or a peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.peers.environments import version_of

OURS: Final = "ours"
LOOP: Final = "loop"


@dataclass(frozen=True, slots=True)
class Contender:
    """One program. ``part`` is its share of the trades: slower ones get the first of them, not all.

    A peer has the ``package`` whose version is told; ours has ``settings``. ``required`` is our rate / its rate.
    """

    name: str
    label: str
    part: float
    package: str = ""
    settings: dict[str, str] | None = None
    required: float | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is the product."""
        return self.settings is not None

    @property
    def version(self) -> str:
        """What it is pinned to; of ours the report's commit tells."""
        return f"{self.package} {version_of(self.name, self.package)}" if self.package else ""
