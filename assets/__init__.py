"""The registry of model files: what each is for, its licence, where it is or how to get it."""
