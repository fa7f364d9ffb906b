"""What `import aloe_bench` offers, and what the commands call."""
