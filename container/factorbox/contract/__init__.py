"""The SageMaker contract: paths, channels, hyperparameters, resources, signals, the failure file, log lines."""
