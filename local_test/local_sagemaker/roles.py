"""IAM as far as SageMaker's clients ask it: every role exists, is trusted by SageMaker and may do everything."""

from __future__ import annotations

import json
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends

from local_sagemaker.protocol import Answer

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def answer_iam(body: bytes, *, account: str) -> Answer | None:
    """Answer ``SimulatePrincipalPolicy``; make the role that ``GetRole`` asks for; ``None`` leaves it to moto."""
    params = parse_qs(body.decode("utf-8", "replace"))
    match params.get("Action"):
        case ["SimulatePrincipalPolicy"]:
            actions = [values[0] for name, values in params.items() if name.startswith("ActionNames.member.")]
            return _all_allowed(actions)
        case ["GetRole"] if "RoleName" in params:
            ensure_role(params["RoleName"][0], account=account)
    return None


def ensure_role(name: str, *, account: str) -> None:
    """Make a role that SageMaker may assume, where there is none of this name."""
    backend = iam_backends[account]["aws"]
    try:
        backend.get_role(name)
    except NotFoundException:
        backend.create_role(
            role_name=name,
            assume_role_policy_document=json.dumps(_TRUST),
            path="/",
            permissions_boundary=None,
            description="Made by the local SageMaker",
            tags=[],
            max_session_duration="3600",
        )


def _all_allowed(actions: list[str]) -> Answer:
    members = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    content = (
        f'<SimulatePrincipalPolicyResponse xmlns="{_NAMESPACE}"><SimulatePrincipalPolicyResult>'
        f"<IsTruncated>false</IsTruncated><EvaluationResults>{members}</EvaluationResults>"
        "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    )
    return Answer(200, {"Content-Type": "text/xml"}, content.encode())
