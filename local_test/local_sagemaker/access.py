"""How a local SageMaker is reached: its address, credentials that are no secret, and no proxy in between."""

from __future__ import annotations

import os
from collections.abc import Mapping

import boto3
import botocore.session
from botocore.config import Config

from local_sagemaker.http_server import HOST
from local_sagemaker.state import State

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Any would do; boto3 sends nothing without them."""

DIRECT = Config(proxies={}, use_fips_endpoint=False, use_dualstack_endpoint=False)
"""Clients' configuration that keeps the shell's proxies and kinds of endpoint out."""

# Nothing of the user's own configuration: a profile may be missing, or bring another endpoint or region.
_NO_FILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


def access_variables(state: State) -> dict[str, str]:
    """Return the variables with which any AWS client talks to a local SageMaker."""
    return {"AWS_ENDPOINT_URL": state.url, **CREDENTIALS, "AWS_DEFAULT_REGION": state.region}


def container_access(state: State, *, isolated: bool) -> dict[str, str]:
    """Return what a container gets of ``access_variables``: nothing, where it is isolated or nothing listens.

    A container in Docker may not reach the address. Even so it has to have it, so that what it asks of AWS ends here
    and not at AWS.
    """
    return {} if isolated or not state.url else access_variables(state)


def no_proxy_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a proxy out of the way, with the exceptions that an environment has already."""
    exceptions: list[str] = []
    for name in ("NO_PROXY", "no_proxy"):
        exceptions += [word.strip() for word in environment.get(name, "").split(",")]
    value = ",".join(dict.fromkeys([*filter(None, exceptions), HOST]))
    # Which spelling wins differs from program to program.
    return {"NO_PROXY": value, "no_proxy": value}


def direct_session(state: State) -> boto3.Session:
    """Return a boto3 session whose clients, given ``DIRECT``, heed nothing of this user's shell and files."""
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=state.region,
        botocore_session=botocore.session.Session(session_vars=_NO_FILES),
    )
