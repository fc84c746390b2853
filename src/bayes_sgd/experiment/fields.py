"""What every part of the configuration is made from: the model that refuses unknown keys, and the types of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, Tag, field_validator
from pydantic_core import CoreSchema, core_schema
from pydantic_core.core_schema import ValidationInfo

Labels = Annotated[
    str,
    Field(
        pattern=r"^(real|random|random-0\.[0-9]{0,9}[1-9][0-9]{0,2})$",
        description="real, random (training and test labels permuted), or random-0.2: each label replaced by a class drawn "
        "uniformly with that probability",
    ),
]
Sampling = Literal["independent", "replacement", "shuffle"]
Activation = Literal["relu", "leaky_relu", "softplus"]
Architecture = Literal["mlp", "lenet"]
DataName = Literal["mnist5k", "mnist", "fashion_mnist", "kmnist", "file"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MAX_UPDATES = 10**9
MAX_TRAIN = 2**20  # what the sampler of batches can tell apart
Units = Annotated[int, Field(ge=1, le=100_000)]
Updates = Annotated[int, Field(ge=1, le=MAX_UPDATES)]
Recorded = Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
MAX_SEEDS = 64  # in one set; the label files hold so many rows, and those of later seeds are drawn when they are read
MAX_FIRST_SEED = 10**6


class Model(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1, so a number would take it."""
        if not any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value])):
            return value
        if cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("a number or a text is wanted, not true or false (as YAML reads yes, no, on, off); quote a text")
        return value


class SeedRange(Model):
    """Seeds from another first one on: networks, batches, subsets and labels that no run from seed 0 has."""

    first: Annotated[int, Field(ge=0, le=MAX_FIRST_SEED)] = 0
    """The first seed."""
    count: Annotated[int, Field(ge=1, le=MAX_SEEDS)]
    """How many there are."""


_By = Discriminator(lambda value: "SeedRange" if isinstance(value, Mapping | SeedRange) else "Count")
_Range = Annotated[SeedRange, Tag("SeedRange")]
Seeds = Annotated[Annotated[int, Field(ge=1, le=MAX_SEEDS), Tag("Count")] | _Range, _By]
SeedsOrNone = Annotated[Annotated[int, Field(ge=0, le=MAX_SEEDS), Tag("Count")] | _Range, _By]


def seed_range(seeds: int | SeedRange) -> range:
    """The seeds that a configuration asks for: a count of them from 0 on, or as a `SeedRange` says."""
    return range(seeds) if isinstance(seeds, int) else range(seeds.first, seeds.first + seeds.count)


def whole_number(value: Any) -> int | None:
    """The number that a field of type int makes of a value before it is checked, as 4 of 4.0 or "4"; None of anything else."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def unique(values: list[Any]) -> list[Any]:
    """The values, all different.

    Raises:
        ValueError: two are equal.
    """
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError("values must differ from one another")
    return values


DISTINCT = AfterValidator(unique)


@dataclass(frozen=True)
class OneOf:
    """Annotation of a text that is one of some names, as `Literal` is, for names that are listed elsewhere."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic makes of a `Literal`."""
        return core_schema.literal_schema(list(self.names))
