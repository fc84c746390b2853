"""A reproduction of Smith & Le (2018): Bayesian evidence, generalization and the noise of SGD.

A package imports from those above it only:

    core        errors, random streams (`rng`), provenance, files (`io`)
    experiment  configuration, `cell`, `grid`, `packs`, the noise scale g
    data        data sets, labels, a user's own .npz
    training    the network (`mlp`), minibatches, the trainer (`sgd`), the `runner` of a pack
    curvature   Gauss-Newton kernel (`ggn`), its Cholesky factor, Lanczos, spectra, gradient noise
    evidence    `laplace`, the linear model, evidence of a `network`, its `runner`
    analysis    `optimum`, `exponent`, `collapse`, `prediction`, intervals
    claims      `measures` behind each claim, `verdicts`, `judge`, the coverage study
    figures     one module for each group of the paper's figures; `registry` lists them
    report      metrics, summary, findings, comparison, `publish`
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bayes-sgd")
except PackageNotFoundError:  # called from the sources, without an install
    __version__ = "0+unknown"
