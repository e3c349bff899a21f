"""What follows the fit of a head with named expressions: smoothing within limits, rest, gaze, eyeballs, correction."""
