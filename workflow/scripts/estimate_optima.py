"""Estimate optimum batch sizes, exponents and laws, with intervals; predict."""

from pathlib import Path

from bayes_sgd.analysis.tables import estimate
from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import CELLS, TABLES
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata

with one_line(snakemake.log[0]):
    cells = read_csv(Path(snakemake.input.cells), CELLS)
    tables = estimate(load_config(snakemake.params.config), cells)
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    for name, table in tables.items():
        write_csv(Path(snakemake.output[name]), table, TABLES[name], metadata)
