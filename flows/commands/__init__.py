"""The `multitalk` command."""
