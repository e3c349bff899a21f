"""A head model's parameters over a clip: motion, from it to vertices, and back."""
