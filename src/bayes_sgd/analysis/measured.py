"""What was measured along a run of an arm's setting with a large batch: from the table `run_curvature` to arms.

Rivals of the fitting batch size need it: B_simple, sharpness, the smallest batch that is stable in the mean square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bayes_sgd.experiment.cell import NETWORK_FIELDS, with_defaults

if TYPE_CHECKING:
    from bayes_sgd.analysis.fit_batch import Arm

SETTING = [name for name in NETWORK_FIELDS if name not in ("batch_size", "updates")]


class Measured(NamedTuple):
    """Columns of `run_curvature`: B_simple and the stable batch size in examples, sharpness of the mean loss; or NaN."""

    simple_noise_scale: float = np.nan
    sharpness: float = np.nan
    stable_batch: float = np.nan


UNKNOWN = Measured()


def with_measured(arms: Sequence[Arm], run_curvature: pd.DataFrame) -> list[Arm]:
    """Arms with what was measured of them: the geometric mean over seeds; those that the table lacks are as they were."""
    names = list(Measured._fields)
    rows = with_defaults(run_curvature)
    means = pd.DataFrame(pd.DataFrame(np.log(rows[names])).groupby([rows[name] for name in (*SETTING, "update")]).mean())
    of_setting = {key: Measured(*np.exp(values)) for key, values in zip(means.index, means.to_numpy(), strict=True)}
    return [replace(arm, measured=of_setting.get((*arm.setting.values(), arm.curve.updates), UNKNOWN)) for arm in arms]
