"""Join the packs to the run's table; what was kept for an interrupted job is then not needed any more."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import collect, forget_partial
from bayes_sgd.core.schema import CELLS
from bayes_sgd.experiment.metadata import made_by

with one_line(snakemake.log[0]):
    marks = made_by(snakemake.config, threads=snakemake.threads)
    collect([Path(pack) for pack in snakemake.input.packs], Path(snakemake.output.table), CELLS, marks)
    forget_partial(Path(file) for file in snakemake.input)
