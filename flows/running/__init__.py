"""What long work shares: progress that a person or a log can follow, and the devices it runs on."""
