"""What a model is trained on: conversations with pictures, and what keeps bad ones out."""
