"""HEART: medical questions with and without a misleading cue, as a controlled experiment."""
