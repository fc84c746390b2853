"""Curvature of the loss of a network: Gauss-Newton kernel, Hessian products, spectra, and the noise of minibatch gradients."""
