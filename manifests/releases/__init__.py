"""Frozen datasets: releases with their card and metadata, and checking every file of a dataset."""
