"""Faces in frames: landmark detectors, tracks through a clip, and candidates for clips."""
