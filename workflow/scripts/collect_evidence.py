"""Join the evidence of all packs."""

from pathlib import Path

from bayes_sgd.errors import one_line
from bayes_sgd.evidence_store import collect_evidence
from bayes_sgd.provenance import made_by

with one_line(snakemake.log[0]):
    marks = made_by(snakemake.config, threads=snakemake.threads)
    collect_evidence([Path(part) for part in snakemake.input], Path(snakemake.output.table), marks)
