"""The lines of a body that plainly ask for the best items of a user, read in one pass over its bytes."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel

_USER_ID = np.frombuffer(b"user_id", dtype=np.uint8)
_TOP_N = np.frombuffer(b"top_n", dtype=np.uint8)
_EXCLUDE_SEEN = np.frombuffer(b"exclude_seen", dtype=np.uint8)
_TRUE = np.frombuffer(b"true", dtype=np.uint8)
_FALSE = np.frombuffer(b"false", dtype=np.uint8)

_LONGEST = 1 << 20
_UNSAID = -1
_MOST_DIGITS_OF_ID = 18
_MOST_DIGITS_OF_NUMBER = 9


@kernel()
def _skip_blanks(text, at, end):  # type: ignore[no-untyped-def]
    """Return the first place that holds no blank."""
    while at < end and (text[at] == 32 or text[at] == 9 or text[at] == 13):
        at += 1
    return at


@kernel()
def _begins(text, at, end, word):  # type: ignore[no-untyped-def]
    """Whether a word stands at a place."""
    matched = 0
    while matched < len(word) and at + matched < end and text[at + matched] == word[matched]:
        matched += 1
    return matched == len(word)


@kernel()
def _end_of_digits(text, at, end):  # type: ignore[no-untyped-def]
    """Return the first place that holds no digit."""
    while at < end and 48 <= text[at] <= 57:
        at += 1
    return at


@kernel()
def _end_of_text(text, at, end):  # type: ignore[no-untyped-def]
    """Return where the quotation mark stands that ends a text without escapes, −1 where there is none such."""
    while at < end:
        byte = text[at]
        if byte == 34:
            return at
        if byte == 92 or byte < 32:
            return -1
        at += 1
    return -1


@kernel()
def _number(text, start, end):  # type: ignore[no-untyped-def]
    """Return the value of a few digits."""
    value = np.int64(0)
    for at in range(start, end):
        value = 10 * value + (np.int64(text[at]) - 48)
    return value


@kernel()
def _read_line(text, at, end, found):  # type: ignore[no-untyped-def]
    """Read one line into `found`: start and end of the id, the number, the switch; false where it is not plain."""
    found[0], found[1], found[2], found[3] = 0, 0, 0, _UNSAID
    at = _skip_blanks(text, at, end)
    if at == end or text[at] != 123:
        return False
    seen = 0
    while True:
        at = _skip_blanks(text, at + 1, end)
        if at == end or text[at] != 34:
            return False
        at += 1
        if _begins(text, at, end, _USER_ID):
            name, at = 1, at + len(_USER_ID)
        elif _begins(text, at, end, _TOP_N):
            name, at = 2, at + len(_TOP_N)
        elif _begins(text, at, end, _EXCLUDE_SEEN):
            name, at = 4, at + len(_EXCLUDE_SEEN)
        else:
            return False
        if at == end or text[at] != 34 or seen & name:
            return False
        seen |= name
        at = _skip_blanks(text, at + 1, end)
        if at == end or text[at] != 58:
            return False
        at = _skip_blanks(text, at + 1, end)
        if at == end:
            return False
        if name == 4:
            if _begins(text, at, end, _TRUE):
                found[3], at = 1, at + len(_TRUE)
            elif _begins(text, at, end, _FALSE):
                found[3], at = 0, at + len(_FALSE)
            else:
                return False
        else:
            quoted = text[at] == 34
            start = at + 1 if quoted else at
            stop = _end_of_text(text, start, end) if quoted and name == 1 else _end_of_digits(text, start, end)
            if stop <= start or (quoted and (stop == end or text[stop] != 34)):
                return False
            if not quoted and (text[start] == 48 or stop - start > _MOST_DIGITS_OF_ID):
                return False
            if name == 1:
                found[0], found[1] = start, stop
            else:
                if stop - start > _MOST_DIGITS_OF_NUMBER:
                    return False
                found[2] = _number(text, start, stop)
                if found[2] == 0:
                    return False
            at = stop + 1 if quoted else stop
        at = _skip_blanks(text, at, end)
        if at == end:
            return False
        if text[at] == 125:
            break
        if text[at] != 44:
            return False
    return _skip_blanks(text, at + 1, end) == end and seen & 1 != 0


@kernel()
def read_plain_lines(text, default_top_n, ends, ids, id_ends, top_n, exclude_seen, plain):  # type: ignore[no-untyped-def]
    """Read every line of a text of valid UTF-8 that is plainly good.

    Parameters
    ----------
    text
        uint8: lines with a newline between them.
    default_top_n
        What a line without `top_n` asks for.
    ends
        int64, (lines,): filled with where each line ends.
    ids, id_ends
        uint8, (len(text),), and int64, (lines + 1,): filled with the ids, one after another, and where each begins and
        ends; empty for a line that is not plain.
    top_n, exclude_seen
        int64 and int8, (lines,): filled with the values of the plain lines.
    plain
        bool, (lines,): filled with whether a line is plain: nothing about it is left for another parser to judge.
    """
    found = np.empty(4, dtype=np.int64)
    written = 0
    start = 0
    id_ends[0] = 0
    for line in range(len(ends)):
        end = start
        while end < len(text) and text[end] != 10:
            end += 1
        ends[line] = end
        good = end - start <= _LONGEST and _read_line(text, start, end, found)
        plain[line] = good
        top_n[line] = default_top_n
        exclude_seen[line] = _UNSAID
        if good:
            for k in range(found[0], found[1]):
                ids[written] = text[k]
                written += 1
            top_n[line] = found[2] if found[2] else default_top_n
            exclude_seen[line] = found[3]
        id_ends[line + 1] = written
        start = end + 1
