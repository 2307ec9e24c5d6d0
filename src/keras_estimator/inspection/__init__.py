"""The command `keras-estimator checkpoints`: list, show, compare, verify and remove checkpoints."""
