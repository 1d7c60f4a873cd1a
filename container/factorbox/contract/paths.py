"""Where SageMaker puts things and looks for them: `/opt/ml`, or the folder named by `SAGEMAKER_BASE_DIR`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The folders and files of the contract below one base folder."""

    base: Path

    @classmethod
    def from_environment(cls) -> Paths:
        """Use `SAGEMAKER_BASE_DIR`, as the AWS toolkits do, or `/opt/ml`."""
        return cls(Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def hyperparameters(self) -> Path:
        """The job's hyperparameters, all values texts."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """How each channel was delivered."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """The hosts of the job."""
        return self.base / "input/config/resourceconfig.json"

    def channel(self, name: str) -> Path:
        """The folder of an input channel."""
        return self.base / "input/data" / name

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz, and what serving gets unpacked."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """What becomes output.tar.gz."""
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        """The text whose first 1,024 characters become the failure reason."""
        return self.base / "output/failure"
