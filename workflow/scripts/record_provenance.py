"""Write what a run was made of: its configuration, its data, its code, its machine."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.experiment.metadata import write_run_provenance

with one_line(snakemake.log[0]):
    write_run_provenance(
        Path(snakemake.output.provenance),
        config=snakemake.params.config,
        code=snakemake.params.code,
        manifest=Path(snakemake.input.manifest),
        tables=[Path(table) for table in (snakemake.input.claims, *snakemake.input.tables)],
    )
