"""How a built model is run, one engine for each backend."""
