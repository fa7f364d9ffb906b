"""Sources of any layout to a clean, leak-free, token-balanced training mixture whose counts add up."""
