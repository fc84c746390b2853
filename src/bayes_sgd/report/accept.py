"""Old results accepted as those of the present code: `python -m bayes_sgd.report.accept RUN`.

Cells, weights and evidence carry the digest of the code that made them, and count as done only if it is today's. After an edit
that changes no number (an error message, a function that nothing calls) this writes today's digest into them, without
training again. What was accepted is noted in results/<run>/accepted.json. The rest of their metadata stays as it is, and
tables keep the digest of what made them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import csv_metadata, read_csv, read_parquet, write_json, write_metadata, write_parquet
from bayes_sgd.core.provenance import code_digest
from bayes_sgd.core.tensors import read_tensors, write_tensors
from bayes_sgd.evidence import runner as evidence_store
from bayes_sgd.training import runner as store


def accept(results: Path) -> dict[str, int]:
    """Set the digest of the code in the files of one run to that of the present code.

    Args:
        results: the run's folder, results/<run>.

    Returns:
        How many files were made by each other code, by its digest; empty if all were made by the present code.

    Raises:
        UserError: no such folder, or a file in it is damaged; nothing is rewritten then.
    """
    if not results.is_dir():
        runs = sorted(path.name for path in results.parent.glob("*/") if path.name != "published")
        raise UserError(f"{results}: no such run; allowed: {', '.join(runs) or 'none is there'}")
    old = [(path, key, code, earlier) for path, key, code in _with_code(results) if (earlier := _metadata(path)[key]) != code]
    counts = dict(Counter(earlier for _, _, _, earlier in old))
    if old:
        record = results / "accepted.json"
        before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
        to = sorted({code for _, _, code, _ in old})
        write_json(record, [*before, {"date_utc": datetime.now(UTC).isoformat(timespec="seconds"), "files": counts, "to": to}])
    for path, key, code, _ in old:
        _change_metadata(path, {key: code})
    return counts


def _metadata(path: Path) -> dict[str, str]:
    """What made a file, once its content is checked (.csv, .parquet, .safetensors)."""
    if path.suffix == ".csv":
        read_csv(path)
        return csv_metadata(path)
    return (read_parquet(path) if path.suffix == ".parquet" else read_tensors(path))[1]


def _change_metadata(path: Path, changes: Mapping[str, str]) -> None:
    """Change some of what `_metadata` gives; the content stays as it is."""
    metadata = _metadata(path) | dict(changes)
    if path.suffix == ".csv":
        write_metadata(path.with_suffix(".json"), metadata)
    elif path.suffix == ".parquet":
        write_parquet(path, read_parquet(path)[0], metadata)
    else:
        write_tensors(path, read_tensors(path)[0], metadata)


def _with_code(results: Path) -> Iterator[tuple[Path, str, str]]:
    """Each file whose digest of code decides whether it is made again, the key of that, and the digest of the present code."""
    training, evidence = code_digest(store.__file__), code_digest(evidence_store.__file__)
    for pattern, key, code in (
        ("cells/*.parquet", "code", training),
        ("weights/*.safetensors", "code", training),
        ("evidence/*.csv", "code_digest", evidence),
        ("evidence/*.partial.parquet", "code_digest", evidence),
    ):
        yield from ((path, key, code) for path in sorted(results.glob(pattern)))


@one_line()
def main(arguments: list[str]) -> None:
    """Accept a run's results and say what was done."""
    if len(arguments) != 1:
        raise UserError("usage: python -m bayes_sgd.report.accept RUN")
    counts = accept(Path("results") / arguments[0])
    summary = ", ".join(f"{files} made by code {code[:12]}" for code, files in counts.items())
    print(f"results/{arguments[0]}: files that now count as made by the present code: {summary or 'none, all did'}")


if __name__ == "__main__":
    main(sys.argv[1:])
