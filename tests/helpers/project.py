"""Where the project lies, and what an input is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bayes_sgd.core.errors import UserError

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.stem != "claims")
T = TypeVar("T")


def attempt(action: Callable[[], T]) -> tuple[T | None, str]:
    """What an input gives, and the one line that is told of it if it is refused; any other exception is a failure."""
    try:
        return action(), ""
    except UserError as error:
        told = str(error)
    assert told, "refused without a word"
    assert "\n" not in told
    return None, told
