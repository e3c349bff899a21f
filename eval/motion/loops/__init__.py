"""Loops over frames and vertices, compiled by numba where they are called."""
