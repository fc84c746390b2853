"""Join the packs to the run's table of evidence, and mark the networks that figures show and claims judge."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import collect, forget_partial
from bayes_sgd.core.schema import NETWORK_EVIDENCE
from bayes_sgd.experiment.evidence_plan import with_main_series
from bayes_sgd.experiment.metadata import table_metadata

with one_line(snakemake.log[0]):
    metadata = table_metadata(snakemake.config, threads=snakemake.threads)
    packs = [Path(pack) for pack in snakemake.input.packs]
    collect(packs, Path(snakemake.output.table), NETWORK_EVIDENCE, metadata, with_main_series)
    forget_partial(Path(file) for file in snakemake.input)
