"""Estimate optimum batch sizes and exponents, with intervals."""

from pathlib import Path

from bayes_sgd.analysis import estimate
from bayes_sgd.config import load_config
from bayes_sgd.errors import one_line
from bayes_sgd.tables import CELLS, OPTIMUM, SCALING, read_csv, write_csv

with one_line(snakemake.log[0]):
    cells = read_csv(Path(snakemake.input.cells), CELLS)
    optimum, scaling = estimate(load_config(snakemake.params.config), cells)
    write_csv(Path(snakemake.output.optimum), optimum, OPTIMUM)
    write_csv(Path(snakemake.output.scaling), scaling, SCALING)
