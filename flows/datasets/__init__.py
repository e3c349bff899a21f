"""What is done to a whole dataset: its policy, its report, data that come in."""
