"""Miniature stand-ins, so that every path can be run on a laptop in seconds."""
