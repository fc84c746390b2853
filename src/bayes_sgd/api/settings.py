"""What a sweep is called with: takes keyword arguments, gives a configuration with one experiment; and says what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import CELL_FIELDS, CellDefaults
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.parts import StatisticsConfig

NAME = "sweep"  # of the one experiment
OF_RUN = ("record", "cooldown", "initialization", "device", "stack", "tf32")
OF_STATISTICS = ("replicates", "failed_below")
F = TypeVar("F", bound=Callable[..., Any])


def configuration(seeds: int | Mapping[str, int], keep_weights: bool, settings: Mapping[str, Any]) -> Config:
    """The configuration of a sweep: its cells are the product of the lists among the settings.

    Args:
        seeds: as in a configuration.
        keep_weights: likewise.
        settings: fields of a cell, and what `OF_RUN` and `OF_STATISTICS` name.

    Raises:
        UserError: an unknown name, or a value that is not allowed.
    """
    settings = {name: plain(value) for name, value in settings.items()}
    of_run = {name: settings.pop(name) for name in OF_RUN if name in settings}
    statistics = {name: settings.pop(name) for name in OF_STATISTICS if name in settings}
    block = settings or {"batch_size": CellDefaults().batch_size}
    experiment = {"axis": "learning_rate", "grid": [block], "keep_weights": keep_weights}
    mapping = {"run": NAME, "seeds": plain(seeds), "statistics": statistics, "experiments": {NAME: experiment}}
    with as_arguments():
        return load_config(mapping | of_run, NAME)


@contextmanager
def as_arguments() -> Iterator[None]:
    """Inside, a message about the configuration names the argument in place of the key."""
    try:
        yield
    except UserError as error:
        line = str(error).replace(f"experiments.{NAME}.grid[0].", "").replace(f"experiments.{NAME}.", "")
        raise UserError(line.replace(f"experiments.{NAME}: ", "").replace("statistics.", "")) from None


def with_all_settings(function: F) -> F:
    """Show the settings, which `function` takes as keywords, in its signature: for `help` and for completion."""
    signature = inspect.signature(function)
    fixed = [part for part in signature.parameters.values() if part.kind is not part.VAR_KEYWORD]
    defaults = {name: getattr(CellDefaults(), name) for name in CELL_FIELDS}
    defaults |= {name: Config.model_fields[name].default for name in OF_RUN}
    defaults |= {name: getattr(StatisticsConfig(), name) for name in OF_STATISTICS}
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
    cast(Any, function).__signature__ = signature.replace(parameters=[*fixed, *named])
    return function


def plain(value: Any) -> Any:
    """Numbers and arrays of numpy, tuples and ranges as plain Python, as a YAML file would hold them."""
    if isinstance(value, np.generic | np.ndarray | pd.Index | pd.Series):
        return value.tolist()
    return [plain(one) for one in value] if isinstance(value, list | tuple | range) else value


def frozen(value: Any) -> Any:
    """A list as a tuple; another value as it is."""
    return tuple(value) if isinstance(value, list) else value


def field_value(cell: CellDefaults, name: str) -> Any:
    """A field of a cell, hashable; None, which no field is, of an unknown name."""
    return frozen(getattr(cell, name, None))
