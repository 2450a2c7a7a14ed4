"""Training models on patches."""
