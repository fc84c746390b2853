"""A reproduction of Smith & Le (2018): Bayesian evidence, generalization and the noise of SGD."""
