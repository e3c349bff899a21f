"""Motion from one head model to another."""
