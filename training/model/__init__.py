"""The models that are trained, what they hear, and their files."""
