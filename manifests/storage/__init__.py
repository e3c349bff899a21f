"""How rows and files of a dataset are committed, read and compacted; `multitalk.manifests.store` is its door."""
