"""Evaluations of a release, a folder or a talker, brought together from their parts."""
