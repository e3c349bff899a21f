"""The parts of the fitter: residuals, priors, Jacobians, and the solver over a batch of clips."""
