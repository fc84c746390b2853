"""The verdicts on the claims of a run.

Takes its configuration, the file of claims and its tables; gives the table `claims`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayes_sgd.analysis.tables import PHASES, experiments
from bayes_sgd.claims.claims import Claim, claims_table, load_claims
from bayes_sgd.claims.measures.base import Tables
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.feeds import FEEDS, feeds


def judge(config: Config, claims: Path, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table `claims` of a run.

    Args:
        config: of the run.
        claims: the file of the claims and their limits.
        tables: by name; `cells`, and whatever else the claims read and the run has.
    """
    run = Tables(
        frames=tables,
        experiments=experiments(config, tables["cells"]),
        phases={phase: experiments(config, tables["cells"], phase) for phase in PHASES[1:]},
        failed_below=config.statistics.failed_below,
        n_replicates=config.statistics.replicates,
        rng=config.statistics.seed,
    )
    return claims_table([_of_run(claim, config, claims) for claim in load_claims(claims)], run)


def _of_run(claim: Claim, config: Config, file: Path) -> Claim:
    """The claim with the experiments of this run in its arguments, where they name what is fed (see `FEEDS`).

    Raises:
        UserError: an argument names nothing that can be fed, and no experiment of the run either.
    """
    fed = feeds(config)

    def named(value: str) -> str:
        if value not in FEEDS and value not in config.experiments:
            allowed = ", ".join(dict.fromkeys([*FEEDS, *config.experiments]))
            raise UserError(f"{file}: claim {claim.id}: experiment {value!r} is none of this run; allowed: {allowed}")
        return fed.get(value, value)

    arguments = {key: named(value) for key, value in claim.arguments.items() if key == "experiment"}
    arguments |= {key: list(map(named, value)) for key, value in claim.arguments.items() if key == "experiments"}
    return claim.model_copy(update={"arguments": claim.arguments | arguments})


def verdict_counts(claims: pd.DataFrame) -> dict[str, int]:
    """How many claims have each verdict."""
    return dict(sorted(Counter(claims["verdict"]).items()))
