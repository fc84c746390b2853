"""The one exception that a person is meant to read, and how a program ends with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Bad input, told in one line: file, key, value, what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextmanager
def one_line(log: str | Path | None = None) -> Iterator[None]:
    """Inside, a `UserError` becomes one line on standard error (and in the file `log`), and exit status 1."""
    try:
        yield
    except UserError as error:
        line = f"error: {error}"
        if log is not None:
            with Path(log).open("a", encoding="utf-8") as file:
                print(line, file=file)
        print(line, file=sys.stderr)
        raise SystemExit(1) from None
