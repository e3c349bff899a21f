"""The course of a fit over the clips of a call: in buckets, persons first, then each clip's motion."""
