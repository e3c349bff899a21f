"""The reference's models, number for number, for its published checkpoints."""
