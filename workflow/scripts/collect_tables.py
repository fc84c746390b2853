"""Join the parts of a table; what was kept for an interrupted job is then not needed any more."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import collect, forget_partial
from bayes_sgd.core.schema import TABLES
from bayes_sgd.experiment.metadata import table_metadata

with one_line(snakemake.log[0]):
    metadata = table_metadata(snakemake.config, threads=snakemake.threads)
    path = Path(snakemake.output.table)
    collect([Path(part) for part in snakemake.input.parts], path, TABLES[path.stem], metadata)
    forget_partial(Path(file) for file in snakemake.input)
