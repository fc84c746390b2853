"""Measure the eigenvalue spectra of trained networks at a small, a middle and the largest batch size."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.curvature.spectrum import compute_spectra
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.metadata import table_metadata
from bayes_sgd.training.runner import RunSettings

params = snakemake.params
run = RunSettings.from_dict(params.run_settings)
with one_line(snakemake.log[0]):
    packs = [[Plan.from_dict(plan) for plan in plans] for plans in params.packs]
    compute_spectra(
        list(zip(packs, map(Path, snakemake.input.weights), strict=True)),
        Path(snakemake.input.data).parent,
        run,
        params.failed_below,
        Path(snakemake.output.table),
        table_metadata(snakemake.config, params.code, run.threads, run.torch_device.type),
    )
