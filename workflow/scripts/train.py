"""Train the cells of one pack that are not trained yet."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.training.runner import RunSettings, train_pack

with one_line(snakemake.log[0]), Path(snakemake.log[0]).open("w", encoding="utf-8") as log:
    train_pack(
        [Plan.from_dict(plan) for plan in snakemake.params.plans],
        Path(snakemake.input.data).parent,
        RunSettings.from_dict(snakemake.params.run_settings),
        Path(snakemake.output.table),
        Path(snakemake.output.weights),
        log=lambda line: print(line, file=log, flush=True),
    )
