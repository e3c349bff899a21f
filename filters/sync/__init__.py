"""Whether sound and lips belong together, and whether a face speaks."""
