"""Metrics of predicted motion, rendering and lip reading."""
