"""From annotations to a dataset: settings, stages and their fingerprints, plan, the way of a video, summary."""
