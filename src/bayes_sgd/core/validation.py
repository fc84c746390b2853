"""What pydantic found wrong with a file, as one line: the key, the value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError


def first_fault(error: ValidationError, parts: Mapping[str, type[BaseModel]], root: type[BaseModel]) -> str:
    """The first fault as "key: value: what is allowed"; of a union's faults, the alternatives together.

    Args:
        error: as pydantic raised it.
        parts: the model below each key that has one, whose keys a message lists.
        root: the model of the whole.
    """
    faults = error.errors()
    first = faults[0]
    if first["type"] == "missing":  # a mistyped key is also a missing one; the message names the mistyped one
        mistyped = (f for f in faults if f["type"] == "extra_forbidden" and f["loc"][:-1] == first["loc"][:-1])
        first = next(mistyped, first)
    # names of a union's alternatives stand in the location like keys; keys have neither capitals nor brackets nor "-"
    keys = [part for part in first["loc"] if isinstance(part, int) or not re.search(r"[A-Z\[]|constrained-", part)]
    location = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    if first["type"] == "extra_forbidden":
        model = next((parts[key] for key in map(str, reversed(keys[:-1])) if key in parts), root)
        return f"{location}: unknown key; allowed: {', '.join(model.model_fields)}"
    same = [fault for fault in faults if fault["loc"][: len(keys)] == first["loc"][: len(keys)]]
    message = "; or: ".join(dict.fromkeys(fault["msg"].removeprefix("Value error, ") for fault in same))
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping of keys to values", message)
    value = first["input"]
    shown = (
        "" if isinstance(value, dict | BaseModel) else f" {str(value)[:80] if isinstance(value, list) else repr(value)[:80]}:"
    )
    return f"{location}:{shown} {message}" if location else message
