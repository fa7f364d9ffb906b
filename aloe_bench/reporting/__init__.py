"""What runs say, in one file that opens from disk: three sentences, figures, and every item to look at."""
