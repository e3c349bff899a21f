"""What all clips have in common."""

FPS = 25
"""Frames a second of every clip; MultiTalk's times all lie on this grid."""

AUDIO_RATE = 16_000
"""Samples a second of every clip's sound; 640 to a frame."""

CLIP_SIDE = 512
"""Width and height of every clip, pixels."""
