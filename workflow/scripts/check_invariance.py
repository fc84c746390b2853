"""Check that the evidence does not depend on how networks are parameterized."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.evidence.invariance import check_invariance
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.metadata import table_metadata
from bayes_sgd.training.runner import RunSettings

params = snakemake.params
run = RunSettings.from_dict(params.run_settings)
with one_line(snakemake.log[0]):
    check_invariance(
        Plan.from_dict(params.plan),
        Path(snakemake.input.data).parent,
        run,
        params.l2,
        Path(snakemake.input.weights),
        Path(snakemake.output.table),
        table_metadata(snakemake.config, params.code, run.threads, run.torch_device.type),
    )
