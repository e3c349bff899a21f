"""Motion as files of other programs."""
