"""Source videos from where they are published: yt-dlp in a process of its own, watched over."""
