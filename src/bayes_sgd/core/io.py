"""Tables on disk: written whole or not at all, read back only if they are what their producer wrote.

CSV for people and figures, Parquet for the cells; arrays and weights are in `tensors`. A file is written beside its place,
flushed to the disk and renamed, so that a killed run leaves the old file or the new one, never a half. Each has a checksum of
its content, which its reader verifies: inside a Parquet or safetensors file that has metadata of its own, else in a JSON file
beside it (`write_checked`), which also says what made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.provenance import digest, environment
from bayes_sgd.core.table import Table

_AGAIN = "delete it and run again"
_CHECKSUM = "seal"  # its key on the disk

# what a joined table takes from its parts
_OF_PARTS = ("code_digest", "data", "initialization", "device", "threads", "torch", "compiled")


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write` on a temporary file in the folder of `path`, flush it to the disk, rename it to `path`.

    Who may read and write it is what the umask says, as for any new file.

    Raises:
        OSError: with the name of `path`, whatever file or system call it was that failed.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    written = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:  # not tempfile's, which are for their owner alone whatever the umask
            written = True
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        if written:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made (or, if it is not there yet, the nearest folder above it).

    Raises:
        UserError: it cannot be written.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written; make it writable, or copy the workflow to where it can write")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write JSON that carries, as its last key, a checksum of all the others."""
    write_json(path, dict(metadata) | {_CHECKSUM: digest(metadata)})


def read_metadata(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """Read what `write_metadata` wrote, without the checksum.

    Raises:
        UserError: no such file, or it is damaged or altered; the line ends with `remedy`.
    """
    try:
        metadata = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}); {remedy}") from None
    if not isinstance(metadata, dict) or metadata.pop(_CHECKSUM, None) != digest(metadata):
        raise UserError(f"{path}: not as it was written (its checksum is missing or wrong); {remedy}")
    return metadata


def write_checked(path: Path, content: bytes, beside: Path, metadata: Mapping[str, Any]) -> None:
    """Write a file, then JSON beside it: `metadata`, and the file's SHA-256 as `sha256`; each whole or not at all."""
    write_atomically(path, lambda file: file.write(content))
    write_metadata(beside, dict(metadata) | {"sha256": hashlib.sha256(content).hexdigest()})


def read_checked(path: Path, beside: Path, remove: Path | None = None) -> tuple[bytes, dict[str, Any]]:
    """Read what `write_checked` wrote: the content of the file, and its metadata with `sha256`.

    Args:
        path: the file.
        beside: its metadata.
        remove: what messages say is to be deleted; `path` if not given.

    Raises:
        UserError: one of the two is missing, damaged or altered.
    """
    metadata = read_metadata(beside, f"delete {remove or path} and run again")
    remedy = f"delete {remove} and run again" if remove else _AGAIN
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); {remedy}") from None
    if hashlib.sha256(content).hexdigest() != metadata.get("sha256"):
        raise UserError(f"{path}: not as it was written (its SHA-256 is not the one in {beside.name}); {remedy}")
    return content, metadata


def write_csv(path: Path, frame: pd.DataFrame, table: Table | None = None, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table as CSV, its columns as `table` orders them; floats in full, so that they read back equal.

    Beside it goes a JSON file of the same name: the table's SHA-256, `metadata`, versions, machine and date. Equal tables are
    equal bytes; the date is in the JSON alone.

    Args:
        path: x.csv.
        frame: the rows.
        table: of the schema; without one any columns will do, as in the data of figures.
        metadata: what made it, as `experiment.metadata.table_metadata` gives it.

    Raises:
        UserError: a column is missing, or the schema does not know it; nothing is written.
    """
    ordered = table.ordered(frame, path) if table else frame
    content = ordered.to_csv(index=False, lineterminator="\n").encode()
    about = {"table": path.name, "rows": len(ordered)} | dict(metadata or {}) | environment()
    write_checked(path, content, _beside(path), about)


def read_csv(path: Path, table: Table | None = None) -> pd.DataFrame:
    """Read a table that `write_csv` wrote.

    Args:
        path: x.csv.
        table: of the schema: says which columns are text, and what an older table gets for a column that it lacks.

    Raises:
        UserError: no such file, not what was written, or a column without a default is missing.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    content, _ = read_checked(path, _beside(path))
    text: dict[Hashable, type[str]] = table.text if table else {"hidden_sizes": str}
    try:
        frame = pd.read_csv(BytesIO(content), dtype=text)
    except ValueError as error:
        raise UserError(f"{path}: not a table: {error}") from None
    return table.completed(frame, path) if table else frame


def csv_metadata(path: Path) -> dict[str, Any]:
    """What made a table that `write_csv` wrote: its SHA-256, its run, digests, versions, machine, date.

    Raises:
        UserError: the JSON beside the table is missing or damaged.
    """
    return read_metadata(_beside(path), f"delete {path} and run again")


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def collect(
    parts: Sequence[Path],
    path: Path,
    table: Table | None = None,
    metadata: Mapping[str, Any] | None = None,
    finish: Callable[[pd.DataFrame], pd.DataFrame] = lambda joined: joined,
) -> None:
    """Join tables, CSV or Parquet, one below the other, and write them as CSV.

    Args:
        parts: the tables to join.
        path: the table to write.
        table: of the schema.
        metadata: what made it; where that of its parts says more (code, device, threads), that is added.
        finish: adds columns that no part can know alone.

    Raises:
        UserError: a part is missing or damaged, or a column is missing or unknown.
    """
    frames, parts_metadata = [], []
    for part in parts:
        frame, about = read_parquet(part) if part.suffix == ".parquet" else (read_csv(part, table), csv_metadata(part))
        frames.append(frame)
        parts_metadata.append({"code_digest": about["code"]} | about if "code" in about else about)
    values = {key: sorted({str(about[key]) for about in parts_metadata if key in about}) for key in _OF_PARTS}
    of_parts = {key: several[0] if len(several) == 1 else several for key, several in values.items() if several}
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(table.names if table else ()))
    write_csv(path, finish(joined), table, dict(metadata or {}) | of_parts)


def partial_file(path: Path) -> Path:
    """Where an unfinished job keeps what it has of `path`: rows (of a CSV too) as Parquet, tensors as they are."""
    return path.with_name(f"{path.stem}.partial{'.parquet' if path.suffix == '.csv' else path.suffix}")


def forget_partial(files: Iterable[Path]) -> None:
    """Remove what unfinished jobs kept, once the run's table holds their rows.

    Not when a job ends: a job that is killed in its last moment loses the files that the workflow takes for its outputs.
    """
    for path in files:
        partial_file(path).unlink(missing_ok=True)


def forget(files: Iterable[Path]) -> None:
    """Remove files, and what unfinished jobs kept of them, so that a job makes them anew."""
    for path in files:
        path.unlink(missing_ok=True)
        partial_file(path).unlink(missing_ok=True)


def write_parquet(path: Path, frame: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write rows as Parquet with `metadata`, which says what made them (digests, versions), and a checksum of both."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    checked = dict(metadata) | {"rows": checksum(_content_digest(frame), metadata)}
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {"bayes_sgd": json.dumps(checked, sort_keys=True)})
    write_atomically(path, lambda file: pq.write_table(table, file))


def read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read rows and their metadata as `write_parquet` wrote them.

    Raises:
        UserError: the file is missing, cut short or altered.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        metadata = json.loads((table.schema.metadata or {})[b"bayes_sgd"])
        written = metadata.pop("rows")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: corrupt, or not written by this workflow ({type(error).__name__}); {_AGAIN}") from None
    if written != checksum(_content_digest(frame), metadata):
        raise UserError(f"{path}: its rows are not those that were written; {_AGAIN}")
    return frame, metadata


def _content_digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def checksum(content: str, metadata: Mapping[str, str]) -> str:
    """The checksum inside a file: of the SHA-256 of its content and of its metadata."""
    return digest({"content": content, "origin": dict(metadata)})
