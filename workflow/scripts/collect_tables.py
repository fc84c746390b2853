"""Join the parts of a table."""

from pathlib import Path

from bayes_sgd.errors import one_line
from bayes_sgd.origin import made_by
from bayes_sgd.tables import collect

with one_line(snakemake.log[0]):
    marks = made_by(snakemake.config, threads=snakemake.threads)
    collect([Path(part) for part in snakemake.input], Path(snakemake.output.table), marks)
