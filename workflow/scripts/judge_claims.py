"""Judge each claim by the limit that was fixed for it."""

from pathlib import Path

from bayes_sgd.claims.judge import judge, verdict_counts
from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv, write_csv, write_json
from bayes_sgd.core.schema import CLAIMS, TABLES
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata

with one_line(snakemake.log[0]):
    tables = {Path(path).stem: read_csv(Path(path), TABLES[Path(path).stem]) for path in snakemake.input.tables}
    claims = judge(load_config(snakemake.params.config), Path(snakemake.input.claims), tables)
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    write_csv(Path(snakemake.output.table), claims, CLAIMS, metadata)
    write_json(Path(snakemake.output.verdicts), verdict_counts(claims))
