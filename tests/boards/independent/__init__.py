"""A check of a leaderboard written from docs/verifying.md alone; nothing of the package is imported.

`python -m tests.boards.independent FOLDER` names every number, mark and rank that the letters do not give.
"""
