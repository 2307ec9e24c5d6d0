"""A model of handwritten digits is killed in training, goes on, is compared with `fit`, and is served."""
