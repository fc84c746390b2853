"""Measure along runs of a published run's settings what its cells do not have: `python -m bayes_sgd.report.measure_runs RUN`.

B_simple, sharpness and mean-square stability, for the table `predictors`: one run with the largest batch size of each setting.
The workflow does not do it by itself. Takes results/published/<run>/; writes there
the table `run_curvature` and its digest; `rejudge` then puts these predictors beside the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from pathlib import Path

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import write_json
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema_predictors import RUN_CURVATURE
from bayes_sgd.curvature.along_run import measure_runs, runs
from bayes_sgd.data.datasets import load_prepared, prepare, prepared_name
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.config import load_config
from bayes_sgd.report.publish import RESULTS, folder_of

PREPARED = Path("data/prepared")


def measure_published(
    folder: Path, prepared: Path, seeds: int = 1, experiments: Collection[str] = (), log: Callable[[str], None] = print
) -> Path:
    """Write the table `run_curvature` of a published run; the data are prepared if they are not there.

    Args:
        folder: results/published/<run>.
        prepared: where the data of all runs are prepared.
        seeds: of each setting, from the run's first on.
        experiments: whose settings; all that feed `one_constant` if none is named.
        log: receives a line for each run.

    Returns:
        The table's path.

    Raises:
        UserError: there is no such run, its data are missing or others than it had, or no experiment feeds `one_constant`.
    """
    record = folder / "provenance.json"
    if not record.exists():
        raise UserError(f"{record}: no such file; only a published run can be measured")
    provenance = json.loads(record.read_text(encoding="utf-8"))
    config = load_config(provenance["config"], f"{record}: config")
    data = prepared / prepared_name(config.data)
    if not (data / "manifest.json").exists():
        prepare(config.data, data, log)
    if load_prepared(data, config.data).digest != provenance["data"]["sha256"]:
        raise UserError(f"{data}: are not the data that {folder.name} was trained on; delete it, or give the run's own")
    wanted = runs(config, seeds, experiments)
    for labels in {run.cell.labels for run in wanted}:
        if not (data / f"labels_{labels}.safetensors").exists():
            write_labels(data, labels)
    table = folder / "tables" / f"{RUN_CURVATURE.name}.csv"
    measure_runs(config, wanted, data, table, log)
    provenance["tables"][table.name] = file_digest(table)
    write_json(record, provenance)
    return table


@one_line()
def main(arguments: list[str] | None = None) -> None:
    """Measure the runs of a published run."""
    parser = argparse.ArgumentParser(
        prog="python -m bayes_sgd.report.measure_runs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("run", help="a folder of results/published")
    parser.add_argument("--seeds", type=int, default=1, help="of each setting (default: %(default)s)")
    parser.add_argument("--experiments", nargs="+", default=[], help="only their settings (default: all)")
    asked = parser.parse_args(arguments)
    print(measure_published(folder_of(asked.run, RESULTS / "published"), PREPARED, asked.seeds, asked.experiments))


if __name__ == "__main__":
    main()
