"""Whose a run's folder is: results/<run>/configuration.txt names the configuration files that made it.

Two configurations with one `run` would leave cells of one beside claims of the other. The names count, not the content: a file
that is edited stays its own. A folder whose files are gone (renamed, or on another machine) goes to whoever runs next.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_text

RECORD = "configuration.txt"


def plain_path(file: str | Path) -> str:
    """The path from the working folder of a file that lies in it, so that the folder can be copied; else from the root."""
    path, here = Path(os.path.normpath(Path(file).absolute())), Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def check_owner(folder: Path, files: Sequence[str | Path]) -> None:
    """Refuse to add to the folder of a run that another configuration made.

    Args:
        folder: results/<run>; nothing is refused where it holds no record.
        files: the configuration files of this run, in their order; paths from the working folder.

    Raises:
        UserError: one line with the folder, both files and what to do.
    """
    record = folder / RECORD
    try:
        owners = [line for line in record.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError):
        return
    if (
        not files
        or not owners
        or [plain_path(file) for file in files] == owners
        or not all(Path(owner).exists() for owner in owners)
    ):
        return
    if len(owners) == len(files) and all(Path(a).samefile(b) for a, b in zip(owners, files, strict=True)):
        return
    ours, theirs = " + ".join(map(plain_path, files)), " + ".join(owners)
    raise UserError(
        f"{ours}: run: {folder.name}: {folder} was made from {theirs}, and would mix both; give `run` another name, "
        f"or remove {folder} (or only {record}, if {theirs} is done with)"
    )


def record_owner(folder: Path, files: Sequence[str | Path]) -> None:
    """Write the names of the configuration files into the folder of their run, if they are not there yet."""
    text = "".join(f"{plain_path(file)}\n" for file in files)
    record = folder / RECORD
    if text and (not record.exists() or record.read_text(encoding="utf-8", errors="replace") != text):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(record, text)
