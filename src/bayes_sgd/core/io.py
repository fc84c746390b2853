"""Tables on disk: written whole or not at all, read back only if they are what their producer wrote.

CSV for people and figures, Parquet for the cells, safetensors for weights. A file is written beside its place, flushed to the
disk and renamed, so that a killed run leaves the old file or the new one, never a half. Each is sealed with a digest of its
content, which its reader checks: inside a Parquet or safetensors file, and for `x.csv` in `x.json` beside it, which also says
what made the table.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.provenance import digest, environment
from bayes_sgd.core.table import Table

if TYPE_CHECKING:
    from torch import Tensor

_AGAIN = "delete it and run again"

_OF_PARTS = ("code_digest", "data", "initialization", "device", "threads", "torch")  # what a joined table takes from its parts


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write` on a temporary file in the folder of `path`, flush it to the disk, rename it to `path`.

    Who may read and write it is what the umask says, as for any new file.

    Raises:
        OSError: with the name of `path`, whatever file or system call it was that failed.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:  # not tempfile's, which are for their owner alone whatever the umask
            made = True
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        if made:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made (or, if it is not there yet, the nearest folder above it).

    Raises:
        UserError: it cannot be written.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written; make it writable, or copy the workflow to where it can write")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write JSON that carries, as its last key, a digest of all the others."""
    write_json(path, dict(facts) | {"seal": digest(facts)})


def read_facts(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """Read what `write_facts` wrote, without the seal.

    Raises:
        UserError: no such file, or it is damaged or altered; the line ends with `remedy`.
    """
    try:
        facts = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}); {remedy}") from None
    if not isinstance(facts, dict) or facts.pop("seal", None) != digest(facts):
        raise UserError(f"{path}: not as it was written (its seal is missing or wrong); {remedy}")
    return facts


def write_csv(path: Path, frame: pd.DataFrame, table: Table | None = None, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a table as CSV, its columns as `table` orders them; floats in full, so that they read back equal.

    Beside it goes a JSON file of the same name: SHA-256 of the table, `made_by` (as `provenance.made_by` gives it), versions,
    machine and date. Equal tables are equal bytes; the date is in the JSON alone.

    Args:
        path: x.csv.
        frame: the rows.
        table: of the schema; without one any columns will do, as in the data of figures.
        made_by: what made it.

    Raises:
        UserError: a column is missing, or the schema does not know it; nothing is written.
    """
    ordered = table.ordered(frame, path) if table else frame
    content = ordered.to_csv(index=False, lineterminator="\n").encode()
    about = {"table": path.name, "sha256": hashlib.sha256(content).hexdigest(), "rows": len(ordered)}
    write_atomically(path, lambda file: file.write(content))
    write_facts(_about(path), about | dict(made_by or {}) | environment())


def read_csv(path: Path, table: Table | None = None) -> pd.DataFrame:
    """Read a table that `write_csv` wrote.

    Args:
        path: x.csv.
        table: of the schema: says which columns are text, and what an older table gets for a column that it lacks.

    Raises:
        UserError: no such file, not what was written, or a column without a default is missing.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != about_csv(path).get("sha256"):
        raise UserError(f"{path}: not as it was written (its SHA-256 is not the one in {_about(path).name}); {_AGAIN}")
    text: dict[Hashable, type[str]] = table.text if table else {"hidden_sizes": str}
    try:
        frame = pd.read_csv(BytesIO(content), dtype=text)
    except ValueError as error:
        raise UserError(f"{path}: not a table: {error}") from None
    return table.completed(frame, path) if table else frame


def about_csv(path: Path) -> dict[str, Any]:
    """What made a table that `write_csv` wrote: its SHA-256, its run, digests, versions, machine, date.

    Raises:
        UserError: the JSON beside the table is missing or damaged.
    """
    return read_facts(_about(path), f"delete {path} and run again")


def _about(path: Path) -> Path:
    return path.with_suffix(".json")


def collect(
    parts: Sequence[Path],
    path: Path,
    table: Table | None = None,
    made_by: Mapping[str, Any] | None = None,
    finish: Callable[[pd.DataFrame], pd.DataFrame] = lambda joined: joined,
) -> None:
    """Join tables, CSV or sealed Parquet, one below the other, and write them as CSV.

    Args:
        parts: the tables to join.
        path: the table to write.
        table: of the schema.
        made_by: what made it; where its parts say more (code, device, threads), what they say goes with it.
        finish: adds columns that no part can know alone.

    Raises:
        UserError: a part is missing or damaged, or a column is missing or unknown.
    """
    frames, origins = [], []
    for part in parts:
        frame, origin = read_parquet(part) if part.suffix == ".parquet" else (read_csv(part, table), about_csv(part))
        frames.append(frame)
        origins.append({"code_digest": origin["code"]} | origin if "code" in origin else origin)
    said = {key: sorted({str(origin[key]) for origin in origins if key in origin}) for key in _OF_PARTS}
    of_parts = {key: values[0] if len(values) == 1 else values for key, values in said.items() if values}
    whole = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(table.names if table else ()))
    write_csv(path, finish(whole), table, dict(made_by or {}) | of_parts)


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


def write_parquet(path: Path, frame: pd.DataFrame, origin: Mapping[str, str]) -> None:
    """Write rows as Parquet, sealed with a digest of them and of `origin`, which says what made them (digests, versions)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    seal = {"bayes_sgd": json.dumps(dict(origin) | {"rows": _seal(_content_digest(frame), origin)}, sort_keys=True)}
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
        sealed = origin.pop("rows")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: damaged or not ours ({type(error).__name__}); {_AGAIN}") from None
    if sealed != _seal(_content_digest(frame), origin):
        raise UserError(f"{path}: its rows are not those that were written; {_AGAIN}")
    return frame, origin


def _content_digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()


def _seal(content: str, origin: Mapping[str, str]) -> str:
    return digest({"content": content, "origin": dict(origin)})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], origin: Mapping[str, str]) -> None:
    """Write tensors as safetensors, sealed with a digest of them and of `origin`; equal content gives equal bytes."""
    from safetensors.torch import save

    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    # one key of metadata: safetensors writes several in any order, and equal weights should be equal files
    sealed = _seal(hashlib.sha256(save(ordered)).hexdigest(), origin)
    seal = {"bayes_sgd": json.dumps(dict(origin) | {"tensors": sealed}, sort_keys=True)}
    content = save(ordered, seal)
    write_atomically(path, lambda file: file.write(content))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and their origin as `write_tensors` wrote them.

    Raises:
        UserError: the file is missing, cut short or altered.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save

    try:
        with safe_open(path, framework="pt") as file:
            origin = json.loads((file.metadata() or {})["bayes_sgd"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        sealed = origin.pop("tensors")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: damaged or not ours ({type(error).__name__}); {_AGAIN}") from None
    if sealed != _seal(hashlib.sha256(save(tensors)).hexdigest(), origin):
        raise UserError(f"{path}: its tensors are not those that were written; {_AGAIN}")
    return tensors, origin


def read_marks(path: Path) -> dict[str, str]:
    """What made a table or tensors that were written here (.csv, .parquet, .safetensors).

    Raises:
        UserError: the file is missing or damaged.
    """
    if path.suffix == ".csv":
        read_csv(path)
        return about_csv(path)
    return (read_parquet(path) if path.suffix == ".parquet" else read_tensors(path))[1]


def rewrite_marks(path: Path, changes: Mapping[str, str]) -> None:
    """Change some of what `read_marks` gives; the content stays as it is.

    Raises:
        UserError: the file is missing or damaged.
    """
    marks = read_marks(path) | dict(changes)
    if path.suffix == ".csv":
        write_facts(_about(path), marks)
    elif path.suffix == ".parquet":
        write_parquet(path, read_parquet(path)[0], marks)
    else:
        write_tensors(path, read_tensors(path)[0], marks)
