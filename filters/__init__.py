"""Metrics of a clip, measured once, and policies over them."""
