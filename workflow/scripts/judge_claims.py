"""Judge each claim by the limit that was fixed for it."""

from pathlib import Path

from bayes_sgd.analysis import judge, verdict_counts
from bayes_sgd.config import load_config
from bayes_sgd.errors import one_line
from bayes_sgd.tables import CLAIMS, read_csv, write_csv, write_json

with one_line(snakemake.log[0]):
    paths = {name: snakemake.input[name] for name in ("cells", "linear", "scaling")}
    tables = {name: read_csv(Path(path)) for name, path in paths.items() if path}
    claims = judge(load_config(snakemake.params.config), Path(snakemake.input.claims), tables)
    write_csv(Path(snakemake.output.table), claims, CLAIMS)
    write_json(Path(snakemake.output.verdicts), verdict_counts(claims))
