"""One-line faults in code that makes numbers, and the fast test that notices each (`make mutants`)."""
