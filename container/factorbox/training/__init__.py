"""The command `train`: from hyperparameters and data to a measured model, its requests and its report."""
