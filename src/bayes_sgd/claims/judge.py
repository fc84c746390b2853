"""From the tables of a run to the verdicts on its claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayes_sgd.analysis.tables import PHASES, experiments
from bayes_sgd.claims.claims import Claim, claims_table, load_claims
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.feeds import FEEDS, feeds


def judge(config: Config, claims: Path, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table `claims` of a run.

    Args:
        config: of the run.
        claims: the file of the claims and their limits.
        tables: by name, all that the run has; `cells` and `scaling` must be there.
    """
    return claims_table(
        [_of_run(claim, config, claims) for claim in load_claims(claims)],
        linear=tables.get("linear"),
        scaling=tables["scaling"],
        experiments=experiments(config, tables["cells"]),
        phases={phase: experiments(config, tables["cells"], phase) for phase in PHASES[1:]},
        noise=tables.get("gradient_noise"),
        evidence=tables.get("network_evidence"),
        invariance=tables.get("invariance"),
        frames=tables,
        failed_below=config.statistics.failed_below,
        n_replicates=config.statistics.replicates,
        rng=config.statistics.seed,
    )


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

    found = {key: named(value) for key, value in claim.arguments.items() if key == "experiment"}
    found |= {key: list(map(named, value)) for key, value in claim.arguments.items() if key == "experiments"}
    return claim.model_copy(update={"arguments": claim.arguments | found})


def verdict_counts(claims: pd.DataFrame) -> dict[str, int]:
    """How many claims have each verdict."""
    return dict(sorted(Counter(claims["verdict"]).items()))
