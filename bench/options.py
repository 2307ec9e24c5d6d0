"""What the commands of bench/ are given by name."""

from __future__ import annotations

from collections.abc import Collection

import typer


def chosen(given: str, known: Collection[str], option: str) -> list[str]:
    """Return the names in a text with commas.

    Args:
        given: The text.
        known: All names there are.
        option: Where it was given, such as `--models`.

    Raises:
        typer.BadParameter: one of them is not known, or there is none.
    """
    names = [name for name in given.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        problem = f"{', '.join(unknown) or 'nothing'} is not among {', '.join(known)}"
        raise typer.BadParameter(problem, param_hint=option)
    return names
