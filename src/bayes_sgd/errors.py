"""The one exception that a person is meant to read: what was given, where, and what is allowed."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, told in one line: file, key, value, what is allowed. Scripts print it and exit with 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
