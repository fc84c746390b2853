"""Compare Laplace's approximation with sampling, where sampling can follow."""

from pathlib import Path

import torch

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import write_csv
from bayes_sgd.core.schema import LAPLACE_VS_AIS
from bayes_sgd.evidence.laplace_vs_ais import laplace_error_table
from bayes_sgd.experiment.config import DataConfig
from bayes_sgd.experiment.metadata import table_metadata

torch.set_num_threads(snakemake.threads)
params = snakemake.params
with one_line(snakemake.log[0]):
    data = DataConfig(**params.config["data"])
    prepared, seeds = Path(snakemake.input.data).parent, [params.first_seed]
    table = laplace_error_table(prepared, data, params.config["initialization"], seeds)
    metadata = table_metadata(snakemake.config, params.code, snakemake.threads)
    write_csv(Path(snakemake.output.table), table, LAPLACE_VS_AIS, metadata)
