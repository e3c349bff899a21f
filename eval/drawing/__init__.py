"""Meshes, error curves and videos of them, drawn without a screen."""
