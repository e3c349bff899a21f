"""AV-HuBERT and its decoder in plain torch: from mouth pictures and sound to text."""
