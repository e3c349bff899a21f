"""Builds while everything goes wrong; `python -m tests.chaos`."""
