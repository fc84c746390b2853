"""The Bayesian evidence: of the linear model and of trained networks, with checks by sampling and reparameterization."""
