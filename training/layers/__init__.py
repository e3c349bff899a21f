"""Building blocks of the models: wav2vec 2.0, the quantiser, fast linear maps."""
