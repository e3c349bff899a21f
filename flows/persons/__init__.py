"""Persons told over all source videos of a dataset."""
