"""Training: conversations, the two fine-tuning stages, and the recipes they follow."""
