"""Compare Laplace's approximation with sampling, where sampling can follow."""

from pathlib import Path

import torch

from bayes_sgd.config import DataConfig
from bayes_sgd.errors import one_line
from bayes_sgd.laplace_gap import gap_table
from bayes_sgd.origin import made_by
from bayes_sgd.tables import write_csv

torch.set_num_threads(snakemake.threads)
given = snakemake.params
with one_line(snakemake.log[0]):
    data = DataConfig(**given.config["data"])
    table = gap_table(Path(snakemake.input.data).parent, data, given.config["initialization"])
    write_csv(Path(snakemake.output.table), table, made_by=made_by(snakemake.config, given.code, snakemake.threads))
