"""Datasets and models for speech-driven 3D talking heads in many languages."""
