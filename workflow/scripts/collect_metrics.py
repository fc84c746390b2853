"""Write the numbers that two versions of a run are compared by."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv, write_json
from bayes_sgd.core.schema import CLAIMS, OPTIMUM, SCALING
from bayes_sgd.report.metrics import metrics

with one_line(snakemake.log[0]):
    tables = {table.name: read_csv(Path(snakemake.input[table.name]), table) for table in (CLAIMS, OPTIMUM, SCALING)}
    write_json(Path(snakemake.output.metrics), metrics(**tables))
