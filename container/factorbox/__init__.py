"""factorbox: implicit-feedback factorization behind the Amazon SageMaker container contract."""

__version__ = "0.1.0"
