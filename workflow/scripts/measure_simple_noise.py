"""Measure the simple noise scale where training losses first are so low."""

from pathlib import Path

import torch

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import write_csv
from bayes_sgd.core.schema import SIMPLE_NOISE
from bayes_sgd.curvature.simple_noise_scale import measure_run
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata

torch.set_num_threads(snakemake.threads)
with one_line(snakemake.log[0]):
    table = measure_run(load_config(snakemake.params.config), Path(snakemake.input.data).parent)
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    write_csv(Path(snakemake.output.table), table, SIMPLE_NOISE, metadata)
