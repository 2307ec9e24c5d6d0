"""The benchmark: keras-estimator and its peers in one run, taking turns."""
