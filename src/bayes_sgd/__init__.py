"""A reproduction of Smith & Le (2018): Bayesian evidence, generalization and the noise of SGD.

In Python, with nothing but arrays (docs/python.md):

    import bayes_sgd as bs
    data = bs.load("mnist5k")
    sweep = bs.sweep(data, learning_rate=[0.05, 0.1, 0.2], batch_size=[8, 16, 32, 64, 128], seeds=4, updates=1000)
    sweep.optimum(), sweep.exponent("learning_rate"), sweep.plot()
    print(bs.advise(data, learning_rate=0.04, momentum=0.9, n_train=500))
    bs.log_evidence(model, x, y, prior_precision=1.0)

A package imports from those above it only:

    core        errors, random streams (`rng`), provenance, files (`io`)
    experiment  configuration, `cell`, `grid`, `packs`, the noise scale g
    data        data sets, labels, a user's own .npz, its `conversion` from other formats, the `memory` that jobs hold
    training    the network (`mlp`), minibatches, the trainer (`sgd`), the `runner` of a pack
    curvature   Gauss-Newton kernel (`ggn`), its Cholesky factor, Lanczos, spectra, gradient noise, B_simple, stability
    evidence    `laplace`, the linear model, evidence of a `network`, its `runner`
    analysis    `optimum`, `exponent`, `collapse`, `prediction`, `search`, intervals
    claims      `measures` behind each claim, `verdicts`, `judge`, the coverage study
    figures     one module for each group of the paper's figures; `registry` lists them
    report      metrics, summary, findings, comparison, `publish`
    api         what `import bayes_sgd` offers, imported when it is first used: `load`, `sweep`, `advise`, `log_evidence`
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_sgd.api.advice import Advice, advise
    from bayes_sgd.api.data import Data, load
    from bayes_sgd.api.networks import Evidence, log_evidence
    from bayes_sgd.api.sweeps import Sweep, sweep
    from bayes_sgd.core.errors import UserError

try:
    __version__ = version("bayes-sgd")
except PackageNotFoundError:  # called from the sources, without an install
    __version__ = "0+unknown"

__all__ = ["Advice", "Data", "Evidence", "Sweep", "UserError", "advise", "load", "log_evidence", "sweep"]
_PLACES = {
    "api.advice": ("Advice", "advise"),
    "api.data": ("Data", "load"),
    "api.networks": ("Evidence", "log_evidence"),
    "api.sweeps": ("Sweep", "sweep"),
    "core.errors": ("UserError",),
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: torch takes seconds, and not all that is here needs it."""
    for place, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
