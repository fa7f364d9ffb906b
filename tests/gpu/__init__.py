"""What a machine with a GPU shows of the back ends, and its miniature on a CPU."""
