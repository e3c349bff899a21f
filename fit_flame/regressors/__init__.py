"""Learned regressors of FLAME 2020 coefficients from images: DECA, SMIRK, SPECTRE.

They share one interface, `interface.Regressor`; `load.load_regressor` opens a published checkpoint and
`regress.regress` runs it over a clip.
"""
