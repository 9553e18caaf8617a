"""Programs that show the operators at work on real models."""
