"""Compute the evidence of those networks of one pack that have none yet."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.evidence.runner import compute_pack_evidence
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.config import NetworkEvidenceConfig
from bayes_sgd.training.runner import RunSettings

with one_line(snakemake.log[0]), Path(snakemake.log[0]).open("w", encoding="utf-8") as log:
    compute_pack_evidence(
        [Plan.from_dict(plan) for plan in snakemake.params.plans],
        Path(snakemake.input.data).parent,
        RunSettings.from_dict(snakemake.params.run_settings),
        NetworkEvidenceConfig(**snakemake.params.settings),
        Path(snakemake.input.weights),
        Path(snakemake.output.table),
        log=lambda line: print(line, file=log, flush=True),
    )
