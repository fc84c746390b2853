"""The numbers that two versions of a run are compared by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_sgd.metrics import metrics


def test_headline_rows_count_and_what_was_not_measured_is_left_out():
    claims = pd.DataFrame(
        {"claim": ["14", "16a", "18a"], "verdict": ["reproduced", "not tested", "reproduced"], "value": [1.05, np.nan, 1.0]}
    )
    rows = [("momentum", "imputed", "cubic"), ("momentum", "imputed", "argmax"), ("n", "imputed", "cubic")]
    scaling = pd.DataFrame(rows, columns=["experiment", "treatment", "estimator"]).assign(exponent=[1.1, 1.2, np.nan])
    optimum = pd.DataFrame([*rows, rows[0]], columns=scaling.columns[:3]).assign(peak_accuracy=[0.8, 0.99, 0.7, 0.9])
    assert metrics(claims, optimum, scaling) == {
        "verdicts": {
            "reproduced": 2,
            "partially_reproduced": 0,
            "not_reproduced": 0,
            "inconclusive": 0,
            "not_tested": 1,
        },
        "exponents": {"momentum": 1.1},
        "accuracies": {"momentum": 0.9, "n": 0.7},
        "claims": {"14": 1.05, "18a": 1.0},
    }
