"""Tables on disk: written whole or not at all, read back only if they are what their producer wrote.

CSV for people and figures, Parquet for the cells. A file is written beside its place, flushed to the disk and renamed, so that
a killed run leaves the old file or the new one, never a half. `write_parquet` seals the rows with a digest that `read_parquet`
checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from bayes_sgd.errors import UserError

OPTIMUM = (
    "experiment", "axis", "axis_value", "updates", "treatment", "estimator",
    "b_opt", "ci_low", "ci_high", "censored", "peak_accuracy",
)  # fmt: skip
SCALING = (
    "experiment", "axis", "updates", "treatment", "estimator", "exponent", "ci_low", "ci_high", "n_points", "ratio",
)  # fmt: skip
LINEAR = (
    "labels", "l2", "seed", "train_accuracy", "test_accuracy", "margin", "train_loss", "test_loss", "cost",
    "occam_factor", "log_evidence_ratio",
)  # fmt: skip
CLAIMS = (
    "claim", "statement", "source", "paper_value", "value", "ci_low", "ci_high", "limit", "seeds", "verdict", "figure",
    "table", "why",
)  # fmt: skip
CELLS = (
    "data", "labels", "hidden_sizes", "n_train", "batch_size", "learning_rate", "momentum", "dampening", "l2", "sampling",
    "updates", "noise_scale", "seed", "update", "train_loss", "test_loss", "train_accuracy", "test_accuracy",
    "weight_norm", "dead_units", "diverged",
)  # fmt: skip


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write` on a temporary file in the folder of `path`, flush it to the disk, rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame, columns: tuple[str, ...] = ()) -> None:
    """Write a table as CSV: the named columns first, then the others; floats in full, so that they read back equal.

    Raises:
        KeyError: a named column is not in the table.
    """
    ordered = frame[[*columns, *(name for name in frame.columns if name not in columns)]]
    write_text(path, ordered.to_csv(index=False, lineterminator="\n"))


def read_csv(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table that `write_csv` wrote.

    Raises:
        UserError: no such file, not a table, or a named column is not there.
    """
    try:
        frame = pd.read_csv(path, dtype={"hidden_sizes": str})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a table: {error}") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]} is missing; wanted: {', '.join(columns)}")
    return frame


def collect(parts: Sequence[Path], path: Path) -> None:
    """Join tables, CSV or sealed Parquet, one below the other, and write them as CSV.

    Raises:
        UserError: a part is missing or damaged.
    """
    frames = [read_parquet(part)[0] if part.suffix == ".parquet" else read_csv(part) for part in parts]
    write_csv(path, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(CELLS)))


def write_parquet(path: Path, frame: pd.DataFrame, origin: Mapping[str, str]) -> None:
    """Write rows as Parquet, sealed with a digest of their content; `origin` says what made them (digests, versions)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    seal = {"bayes_sgd": json.dumps(dict(origin) | {"rows": _content_digest(frame)}, sort_keys=True)}
    table = table.replace_schema_metadata((table.schema.metadata or {}) | seal)
    write_atomically(path, lambda file: pq.write_table(table, file))


def read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read rows and their origin as `write_parquet` wrote them.

    Raises:
        UserError: the file is missing, cut short or altered.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        origin = json.loads((table.schema.metadata or {})[b"bayes_sgd"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged or not ours ({type(error).__name__}); delete it and run again") from None
    if origin.pop("rows") != _content_digest(frame):
        raise UserError(f"{path}: its rows are not those that were written; delete it and run again")
    return frame, origin


def _content_digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
