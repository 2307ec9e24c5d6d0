"""What is called while a model trains: saving, stopping, reporting, progress."""
