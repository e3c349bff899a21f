"""Prefect flows, configuration and the multitalk command."""
