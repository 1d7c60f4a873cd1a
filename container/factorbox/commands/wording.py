"""Errors in reading data, told to somebody who has typed a command: of options and folders, where a job has others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from factorbox.data.columns import ReadOptions
from factorbox.errors import FactorboxError
from factorbox.options import options_of

# What is quoted is the user's own; an apostrophe within a word opens no quotation.
_QUOTATION = r"""(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)"(?:[^"\\]|\\.)*\""""
_OPTIONS = "|".join(options_of(ReadOptions))
_NAME = re.compile(rf"{_QUOTATION}|(?P<remedy>\bthe hyperparameter )?(?<![\w./-])(?P<name>{_OPTIONS})\b(?![./-]\w)")
_CHANNEL = re.compile(rf"{_QUOTATION}|\bthe (?P<channel>channel)\b")
# Remedies for a training job, which a command cannot follow.
_FOR_JOBS = re.compile(
    r", or give the training job a channel named '[^']*'"
    r"|, or choose an algorithm that needs no ratings, such as als"
    r"|; algorithm=explicit with loss=squared takes negative ratings"
    r"| \(not with filters=any\)"
)
# A word of the language too, and then no option.
_WORD = "delimiter"


@contextmanager
def told_of_options(given: Collection[str]) -> Iterator[None]:
    """Raise what goes wrong in reading data again, in the words of `of_options`."""
    try:
        yield
    except FactorboxError as error:
        raise type(error)(of_options(str(error), given=given)) from error


def of_options(sentence: str, *, given: Collection[str]) -> str:
    """Return an error of a reader with options of the command line in the place of hyperparameters.

    Parameters
    ----------
    given
        Names of the fields of `ReadOptions` that the command line gives; the others are the model's.
    """
    inherited: dict[str, None] = {}

    def told(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or (name == _WORD and not match["remedy"] and sentence[match.end() : match.end() + 1] != "="):
            return match[0]
        if match["remedy"] or name in given:
            return f"--{name.replace('_', '-')}"
        inherited[name] = None
        return f"the model's {name}"

    sentence = _FOR_JOBS.sub("", sentence)
    if "min_rating" not in given:
        # That of the model cannot be left out.
        sentence = sentence.replace(", or leave min_rating out", "")
    sentence = _CHANNEL.sub(lambda match: "the folder" if match["channel"] else match[0], _NAME.sub(told, sentence))
    options = " and ".join(f"--{name.replace('_', '-')}" for name in inherited)
    return f"{sentence}; where these data are other than those of training, give {options}" if options else sentence
