"""Running work in processes of its own: workers, who watches them, progress, and stopping in order."""
