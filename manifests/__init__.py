"""Schema, storage and queries of the dataset table."""
