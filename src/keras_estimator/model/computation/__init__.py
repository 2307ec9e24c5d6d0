"""What a model computes: traced, hashed, probed; the model is left as it was."""
