"""Why a video has no score, as one of a few codes that programs can act on.

A reason is a sentence for people, made where something failed, maybe in another process or by an earlier run. Its code
is read from it, so that both say the same wherever the sentence has been.
"""

import errno
import os
import re

MEANINGS = {
    "unavailable": "the file is not there, cannot be opened, or changed while it was read",
    "timeout": "took longer than --timeout_s",
    "killed": "the process that scored it was killed from outside, mostly for memory",
    "crashed": "the process that scored it crashed; it would again",
    "resources": "too little memory, or no room on a disk",
    "limit": "larger or longer than a limit of --limits, or slower to decode",
    "not_video": "not a file, empty, no video in it, or of a kind that is not read",
    "damaged": "cut short, or parts of it cannot be decoded",
    "unsuitable": "whole, but nothing to score: too short, too small, blank, or of a changing frame size",
    "internal": "anything else, among it errors of this package",
}
"""Code -> what it means; rows of scores have one in the column `error_code`."""

PASSING = frozenset({"unavailable", "timeout", "killed", "resources"})
"""Codes of failures whose cause lies outside the video, so that another try may succeed."""

_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)
_SIGNS = {
    "timeout": r"took longer than the \S+ s allowed for one video",
    "killed": r"that scored it died \(SIG(KILL|TERM|HUP|INT|QUIT|XCPU|BUS|USR1|USR2)\b"
    r"|a (decod|load)ing process ended early|its workers were lost",
    "crashed": r"that scored it died \(",
    "resources": "|".join(("MemoryError|allocate memory", *(re.escape(os.strerror(code)) for code in _SYSTEM))),
    "unavailable": r": no such file$|: cannot be opened \(|changed while it was read|no file found|: cannot be read: ",
    "limit": r"over the limit of |than the limit of ",
    "damaged": r"damaged|cut short|cannot be decoded \(|: decoded \d+ of |have no time stamp"
    r"|no video frames that can be decoded",
    "not_video": r"; give a video file|: is an empty file|: is not a file|: is no video|cannot be read as a video"
    r"|not in a video container|holds no video stream|of a codec that this build",
    "unsuitable": r"too short|too small|nothing to judge|one still picture|frame size changes|cannot be converted"
    r"|has another size than the first|: there is no frame",
}


def error_code(reason: str, video: str = "") -> str:
    """The code of a reason, empty where there is none.

    Args:
        reason: why a video has no score, as in `Score.reason` and in the column `error`.
        video: its name, which may hold any words and stands in front.
    """
    if not reason:
        return ""
    text = reason.removeprefix(video).removeprefix(repr(video))
    return next((code for code, sign in _SIGNS.items() if re.search(sign, text)), "internal")
