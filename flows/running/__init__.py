"""Running work in processes of its own: workers, who watches them, progress, devices, and stopping in order."""
