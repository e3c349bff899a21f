"""Loops over frames and vertices, compiled by numba where it is installed, else in numpy."""
