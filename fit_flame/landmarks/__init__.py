"""Where a detector's landmarks lie on a head model's surface."""
