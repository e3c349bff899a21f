"""The two-stage MultiTalk models and their trainer."""
