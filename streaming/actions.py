"""The file of corporate actions that services and commands share."""

from __future__ import annotations

from pathlib import Path

from marketdata.actions import ActionsError, ActionTable, parse_actions


def load_actions(path: Path | None) -> ActionTable:
    """The table in ``path``, an empty one where no path is set.

    Raises:
        ActionsError: the file is not there or a line of it cannot be read; the message names both.
    """
    if path is None:
        return ActionTable()
    try:
        return parse_actions(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ActionsError(f"{path} cannot be read: {error}") from error
    except ActionsError as error:
        raise ActionsError(f"{path}: {error}") from error
