"""What pydantic finds wrong is one line: the key, the value, what is allowed."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bayes_sgd.core.validation import first_fault


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(ge=1)
    names: list[str] = []
    either: Annotated[int, Field(ge=1)] | list[int] = 1

    @field_validator("names")
    @classmethod
    def _short(cls, names: list[str]) -> list[str]:
        if len(names) > 2:
            raise ValueError("at most two names")
        return names


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    part: Part
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"part": {"size": 0}}, "part.size: 0: Input should be greater than or equal to 1"),
        ({"part": {}}, "part.size: Field required"),
        ({"part": {"sizes": 1}}, "part.sizes: unknown key; allowed: size, names, either"),
        ({"part": {"size": 1}, "mode": 2}, "mode: unknown key; allowed: part, parts"),
        ({"part": 7}, "part: 7: Input should be a mapping of keys to values"),
        ({"part": {"size": 1}, "parts": [{"size": 1}, {"size": "x"}]}, "parts[1].size: 'x': Input should be a valid integer"),
        ({"part": {"size": 1, "names": ["a", "b", "c"]}}, "part.names: ['a', 'b', 'c']: at most two names"),
        (
            {"part": {"size": 1, "either": "many"}},
            "part.either: 'many': Input should be a valid integer, unable to parse string as an integer; or: "
            "Input should be a valid list",
        ),
    ],
)
def test_the_first_fault_is_one_line(content: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(content)
    message = first_fault(caught.value, {"part": Part}, Whole)
    assert message.startswith(line)
    assert "\n" not in message


def test_long_values_are_cut() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"part": {"size": "9" * 500 + "x"}})
    assert len(first_fault(caught.value, {"part": Part}, Whole)) < 200
