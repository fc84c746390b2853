"""What a table is made of: columns with unit and meaning; checks a table before it is written and after it is read.

Which tables there are is in `schema`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pandas as pd

from bayes_sgd.core.errors import UserError

REQUIRED: Final = object()
TEXT = "text"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: in the header.
        unit: nats, examples, ...; "1" of a number without a unit, "text", or "yes/no". Text is read as text, digits or not.
        meaning: one sentence.
        default: the value in tables that were written before the column existed. Without one a reader refuses such a table;
            None: the column stays away.
    """

    name: str
    unit: str
    meaning: str
    default: Any = REQUIRED


@dataclass(frozen=True)
class Table:
    """A table and its columns in the order in which they are written.

    Attributes:
        name: of the file, without .csv.
        rows: what a row is, in one sentence.
        columns: all of them.
        joined: the columns that the parts of a table lack; they are made when the parts are joined.
    """

    name: str
    rows: str
    columns: tuple[Column, ...]
    joined: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    def without(self, *names: str) -> tuple[str, ...]:
        """The names of the columns but for some."""
        return tuple(name for name in self.names if name not in names)

    @property
    def text(self) -> dict[Hashable, type[str]]:
        """The columns that are text, as pandas' reader takes types."""
        return {column.name: str for column in self.columns if column.unit == TEXT}

    def ordered(self, frame: pd.DataFrame, where: object) -> pd.DataFrame:
        """The table to be written, its columns in order.

        Args:
            frame: with all columns, in any order; of a part, those in `joined` may be missing.
            where: the file, for the message.

        Raises:
            UserError: a column is missing or unknown.
        """
        unknown = [str(name) for name in frame.columns if name not in self.names]
        missing = [name for name in self.without(*self.joined) if name not in frame.columns]
        for names, fault in ((unknown, "is not in the schema"), (missing, "is missing")):
            if names:
                raise UserError(f"{where}: column {names[0]} {fault}; the columns of {self.name}: {', '.join(self.names)}")
        return frame.loc[:, [name for name in self.names if name in frame.columns]]

    def completed(self, frame: pd.DataFrame, where: object) -> pd.DataFrame:
        """The table that was read, with the defaults of columns that it is too old to have.

        Args:
            frame: as it was read.
            where: the file, for the message.

        Raises:
            UserError: a column without a default is missing.
        """
        absent = [column for column in self.columns if column.name not in frame.columns]
        for column in absent:
            if column.default is REQUIRED:
                raise UserError(f"{where}: column {column.name} is missing; wanted: {', '.join(self.names)}")
        return frame.assign(**{column.name: column.default for column in absent if column.default is not None})


def markdown(table: Table) -> str:
    """The table's description as Markdown: what a row is, then a line for each column."""
    lines = []
    for column in table.columns:
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {column.unit} | {meaning} |\n")
    return f"### {table.name}.csv\n\n{table.rows}\n\n| column | unit | meaning |\n|---|---|---|\n{''.join(lines)}"
