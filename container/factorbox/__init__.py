"""factorbox: implicit-feedback factorization behind the Amazon SageMaker container contract."""
