"""The layouts of other programs: clips written for them, and data read from them."""
