"""Files of strangers: pickles, checkpoints, arrays and YAML, read in bounded memory without running anything."""
