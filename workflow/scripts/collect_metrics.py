"""Write the numbers that two versions of a run are compared by."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import CLAIMS, OPTIMUM, SCALING, read_csv, write_json
from bayes_sgd.report.metrics import metrics

with one_line(snakemake.log[0]):
    columns = {"claims": CLAIMS, "optimum": OPTIMUM, "scaling": SCALING}
    tables = {name: read_csv(Path(snakemake.input[name]), wanted) for name, wanted in columns.items()}
    write_json(Path(snakemake.output.metrics), metrics(**tables))
