"""The metadata of a table and of a whole run: from a configuration to the digests and versions that say what made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_metadata, write_json
from bayes_sgd.core.provenance import digest, environment, file_digest
from bayes_sgd.experiment.config import load_config


def table_metadata(config: Mapping[str, Any], code: str = "", threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    """The metadata of a table, beside what `environment` says.

    Args:
        config: the whole configuration, as it was read or validated. With its defaults filled in, its digest is the one that
            provenance.json had when the table was made.
        code: digest of the code that made the table, if it has one of its own.
        threads: of the job.
        device: where the numbers were made.

    Raises:
        UserError: the configuration is not valid.
    """
    settings = load_config(config).model_dump(mode="json")
    metadata = {"run": settings["run"], "config_digest": digest(settings), "device": device, "threads": threads}
    return metadata | ({"code_digest": code} if code else {})


def write_run_provenance(path: Path, config: Any, code: str, manifest: Path, tables: Iterable[Path]) -> None:
    """Write what a run was made of: its configuration and digests of it, of code, data and its tables; and the machine.

    `tables` are those that the configuration asks for: what an earlier one left in the folder is not the run's. If results of
    other code were accepted (accepted.json beside `path`), that too.
    """
    accepted = path.with_name("accepted.json")
    write_json(
        path,
        {
            "run": config["run"],
            "config_digest": digest(config),
            "code_digest": code,
            "data": read_metadata(manifest, f"delete {manifest.parent} and run again"),
            "tables": {table.name: file_digest(table) for table in sorted(tables)},
            "environment": environment(),
            "config": config,
        }
        | ({"accepted": json.loads(accepted.read_text(encoding="utf-8"))} if accepted.exists() else {}),
    )


def recorded_tables(folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """The tables of a run, which its provenance.json names.

    Raises:
        UserError: one is missing, or is another than when the record was written.
    """
    paths = []
    for name, sha256 in sorted(provenance.get("tables", {}).items()):
        path = folder / "tables" / name
        if not path.exists() or file_digest(path) != sha256:
            state = "is not the table" if path.exists() else "is missing, a table"
            raise UserError(f"{path}: {state} that {folder / 'provenance.json'} records; finish the run {folder.name!r} first")
        paths.append(path)
    return paths
