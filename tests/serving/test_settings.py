from __future__ import annotations

import pytest

from factorbox.errors import UserError
from factorbox.serving.settings import Settings, settings_from


def test_an_empty_environment_gives_the_defaults() -> None:
    assert settings_from({}) == Settings()
    assert Settings().port == 8080
    assert Settings().max_payload_mib == 100


def test_every_variable_is_read() -> None:
    settings = settings_from(
        {
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "MODEL_SERVER_WORKERS": "3",
            "MODEL_SERVER_TIMEOUT": "90",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "7",
            "DEFAULT_EXCLUDE_SEEN": "False",
            "UNKNOWN_USERS": "Empty",
            "BAD_RECORDS": "mark",
            "TRAILING_NEWLINE": "1",
            "CONSOLE": "0",
        }
    )

    assert settings == Settings(
        port=9000,
        workers=3,
        timeout=90,
        max_payload_mib=0,
        concurrent_transforms=7,
        exclude_seen=False,
        unknown_users="empty",
        bad_records="mark",
        trailing_newline=True,
        console=False,
    )


def test_an_empty_variable_counts_as_unset() -> None:
    names = ("SAGEMAKER_BIND_TO_PORT", "MODEL_SERVER_WORKERS", "SAGEMAKER_MAX_PAYLOAD_IN_MB", "BAD_RECORDS")

    assert settings_from(dict.fromkeys(names, "")) == Settings()


@pytest.mark.parametrize(
    ("environ", "console"),
    [
        ({}, True),
        ({"CONSOLE": "1"}, True),
        ({"CONSOLE": "0"}, False),
        ({"CONSOLE": "False"}, False),
        ({"SAGEMAKER_BATCH": "true"}, False),
        ({"SAGEMAKER_BATCH": "True", "CONSOLE": "1"}, False),
        ({"SAGEMAKER_BATCH": ""}, True),
    ],
)
def test_the_page_is_on_unless_switched_off_or_in_a_transform_job(environ: dict[str, str], console: bool) -> None:
    assert settings_from(environ).console is console


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "65536"),
        ("MODEL_SERVER_WORKERS", "two"),
        ("MODEL_SERVER_WORKERS", "0"),
        ("MODEL_SERVER_TIMEOUT", "1.5"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "-1"),
        ("DEFAULT_EXCLUDE_SEEN", "maybe"),
        ("UNKNOWN_USERS", "popular"),
        ("BAD_RECORDS", "skip"),
        ("TRAILING_NEWLINE", "yes"),
        ("CONSOLE", "maybe"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UserError) as refused:
        settings_from({name: value})

    assert f"{name}={value!r}" in str(refused.value)
    assert "leave it unset" in str(refused.value)
