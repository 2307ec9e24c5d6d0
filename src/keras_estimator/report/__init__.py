"""The report of a run: one HTML file that shows what lies in its model_dir."""
