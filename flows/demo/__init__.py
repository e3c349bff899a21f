"""`multitalk demo`: videos made on the spot, a dataset built of them, a talker trained on it."""
