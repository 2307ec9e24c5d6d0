"""What a Keras model is made of, and what it takes to run its code as it was meant."""
