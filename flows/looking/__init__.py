"""Pictures, videos and tables for people to look at."""
