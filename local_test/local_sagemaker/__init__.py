"""A local SageMaker: the AWS API on 127.0.0.1, with training jobs, transform jobs and endpoints that really run.

It knows the SageMaker contract and nothing else, and runs any image, or any pair of programs, that obeys it.
"""

from local_sagemaker.errors import ServiceError
from local_sagemaker.server import LocalSageMaker

__all__ = ["LocalSageMaker", "ServiceError"]
