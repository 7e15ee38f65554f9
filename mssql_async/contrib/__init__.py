"""What goes with the backend and is not needed to run it."""
