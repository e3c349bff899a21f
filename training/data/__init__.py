"""The clips of a dataset as batches for training."""
