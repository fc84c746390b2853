"""Old results accepted as those of the present code: `python -m bayes_sgd.report.accept RUN`.

Cells, weights and evidence carry the digest of the code that made them, and count as done only if it is today's. Whoever knows
that an edit changes no number (an error message, a function that nothing calls) has these marks rewritten once, instead of
training again. What was accepted is noted in results/<run>/accepted.json. Marks of data, device and torch stay as they are, and
tables keep the digest of what made them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import read_marks, rewrite_marks, write_json
from bayes_sgd.core.provenance import code_digest
from bayes_sgd.evidence import runner as evidence_store
from bayes_sgd.training import runner as store


def accept(results: Path) -> dict[str, int]:
    """Rewrite the marks of one run to the digests of the present code.

    Args:
        results: the run's folder, results/<run>.

    Returns:
        How many files were made by each other code, by its digest; empty if all marks are those of the present code.

    Raises:
        UserError: no such folder, or a file in it is damaged; nothing is rewritten then.
    """
    if not results.is_dir():
        runs = sorted(path.name for path in results.parent.glob("*/") if path.name != "published")
        raise UserError(f"{results}: no such run; allowed: {', '.join(runs) or 'none is there'}")
    old = [(path, key, code, made_by) for path, key, code in _marked(results) if (made_by := read_marks(path)[key]) != code]
    found = dict(Counter(made_by for _, _, _, made_by in old))
    if old:
        record = results / "accepted.json"
        before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
        to = sorted({code for _, _, code, _ in old})
        write_json(record, [*before, {"date_utc": datetime.now(UTC).isoformat(timespec="seconds"), "files": found, "to": to}])
    for path, key, code, _ in old:
        rewrite_marks(path, {key: code})
    return found


def _marked(results: Path) -> Iterator[tuple[Path, str, str]]:
    """Each file whose mark decides whether it is made again, the name of the mark, and the digest of the present code."""
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
    found = accept(Path("results") / arguments[0])
    told = ", ".join(f"{files} made by code {code[:12]}" for code, files in found.items())
    print(f"results/{arguments[0]}: files that now count as made by the present code: {told or 'none, all did'}")


if __name__ == "__main__":
    main(sys.argv[1:])
