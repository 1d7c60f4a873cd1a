"""What `python -m factorbox` does with a trained model."""
