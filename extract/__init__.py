"""From annotations to clips, sound and landmarks."""
