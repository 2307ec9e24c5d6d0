"""The doctor: what stops a model from travelling, on which line of the user's code, and the fix."""
