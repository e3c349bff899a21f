"""Training runs: losses, optimiser, rounds, and going on after a stop."""
