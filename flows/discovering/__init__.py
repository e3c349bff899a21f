"""From raw videos to annotations: settings, candidates, results, and the batches that worker processes take."""
