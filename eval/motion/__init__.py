"""Metrics of predicted motion against the truth, clip by clip and pooled."""
