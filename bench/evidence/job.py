"""One evidence, or the bare factorization of its kernel, in a process of its own, which tells its time and its peak memory.

    python -m bench.evidence.job METHOD HIDDEN N_TRAIN

METHOD is cholesky, ours, laplace or curvlinops; λ is 1. Prints a line of JSON: `seconds`, `cpu_seconds`, `peak_mb` (above what
the process held when it began), `log_determinant` of I + GGN/λ (cholesky: NaN).
"""

import json
import math
import sys
import time
import warnings
from pathlib import Path

import torch
from bench.common.memory import memory_mb
from bench.common.problem import Problem, digits
from torch import nn

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.curvature.cholesky import CholeskyFactor
from bayes_sgd.evidence.network import network_evidence
from bayes_sgd.training.sgd import train

torch.set_num_threads(1)
UPDATES = 500


def forget_peak() -> None:
    """From now on the peak is that of what follows."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5", encoding="ascii")


method, hidden, n_train = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = digits(1)
problem = Problem(data, (hidden,), min(32, n_train), 1, n_train=n_train, rate=0.05)
_, _, _, trained = next(train([(problem.cell, 0)], [UPDATES], data))
layers = [layer.double() for layer in trained]
chosen = data.subsets[0, :n_train]
x, y = data.train_inputs[chosen].double(), data.train_labels[0, chosen]
x_test, y_test = data.test_inputs.double(), data.test_labels[0]
model = as_sequential(layers)
log_determinant = math.nan
if method == "laplace":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from laplace import FullLaplace
if method == "curvlinops":
    from curvlinops import GGNLinearOperator

held = memory_mb("VmRSS")
forget_peak()
started, cpu = time.perf_counter(), time.process_time()
if method == "cholesky":
    rows = n_train * (data.classes - 1)
    matrix = torch.full((rows, rows), 1e-4, dtype=torch.float64)
    started, cpu = time.perf_counter(), time.process_time()
    CholeskyFactor(matrix, 1.0)
elif method == "ours":
    table = network_evidence(layers, layers, x, y, x_test, y_test, data.classes, [1.0], ["sgd"])
    log_determinant = 2 * float(table["occam_penalty"].iloc[0])
elif method == "laplace":
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:, :-1], y), batch_size=n_train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        witness = FullLaplace(model, "classification", prior_precision=torch.ones(1, dtype=torch.float64))
        witness.fit(loader)
        witness.log_marginal_likelihood()
        log_determinant = float(witness.log_det_ratio)
else:
    parameters = list(model.parameters())
    operator = GGNLinearOperator(model, nn.CrossEntropyLoss(reduction="sum"), parameters, [(x[:, :-1], y)])
    dense = (operator @ torch.eye(operator.shape[1], dtype=torch.float64)).detach()
    log_determinant = CholeskyFactor(dense.contiguous(), 1.0).log_determinant
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
print(
    json.dumps(
        {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "peak_mb": memory_mb("VmHWM") - held,
            "log_determinant": log_determinant,
        }
    )
)
