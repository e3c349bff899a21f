"""How well a speech recogniser reads lips off rendered heads and real videos, in noise."""
