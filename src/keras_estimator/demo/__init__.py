"""The demo: a model that no config can carry is trained, killed, trained on, compared with `fit`, and served."""
