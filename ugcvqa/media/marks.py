"""What FFmpeg's marks say about single frames of a video, and where they change during the video."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer

from ugcvqa.media.orientation import UPRIGHT, Orientation, orientation_of

# Codes of FFmpeg's AVColorTransferCharacteristic.
_TRANSFERS = {
    16: "HDR (PQ, SMPTE ST 2084)",
    18: "HDR (HLG, ARIB STD-B67)",
    8: "linear light",
    9: "a logarithmic transfer",
    10: "a logarithmic transfer",
    17: "digital cinema (SMPTE ST 428)",
}
_RANGES = {1: "tv", 2: "pc"}  # codes of FFmpeg's AVColorRange
DOLBY_VISION = "it carries Dolby Vision data, which are left out, so its colours may differ from those shown"
"""Sentence about frames or files that carry it."""

DOLBY_TAGS = frozenset({"dvh1", "dvhe", "dvav", "dva1", "dav1"})
"""Names that MP4 files give to its streams."""

_STEREO = "each frame holds two views (stereo 3D), which are scored as one picture"
_SPHERE = "the video is spherical (360 degrees) and is scored as the flat picture that is coded"
# Kinds of FFmpeg's side data, and the first number in them that means nothing unusual.
_KINDS = {
    "DOVI_RPU_BUFFER": (DOLBY_VISION, None),
    "DOVI_METADATA": (DOLBY_VISION, None),
    "STEREO3D": (_STEREO, 0),  # AV_STEREO3D_2D
    "SPHERICAL": (_SPHERE, 4),  # AV_SPHERICAL_RECTILINEAR
}


class Mark(NamedTuple):
    """The marks of one frame.

    Attributes:
        orientation: how it is shown, by what the container and its own stream say.
        transfer: name of its colour transfer, if that is not one of standard video.
        levels: its pixel format and colour range.
        is_interlaced: it is two fields.
        unusual: sentences about other things that make a score doubtful.
    """

    orientation: Orientation
    transfer: str
    levels: str
    is_interlaced: bool
    unusual: tuple[str, ...]


def mark_of(frame: Any) -> Mark:  # noqa: ANN401 (PyAV's frame)
    """Reads the marks of a decoded frame."""
    orientation, unusual = UPRIGHT, list[str]()
    # The frame's own list would refer to it, and keep it until Python searches its memory.
    for each in SideDataContainer(frame):  # type: ignore[call-arg]
        if each.type.name == "DISPLAYMATRIX":
            orientation = orientation_of(bytes(each))
        elif each.type.name in _KINDS:
            sentence, usual = _KINDS[each.type.name]
            if usual is None or bytes(each)[:4] != usual.to_bytes(4, "little"):
                unusual.append(sentence)
    levels = f"{frame.format.name} {state_range(frame)}".strip()
    return Mark(orientation, transfer_name(frame.color_trc), levels, bool(frame.interlaced_frame), tuple(unusual))


def transfer_name(code: int) -> str:
    """Name of a colour transfer by FFmpeg's code, empty for those used by standard video."""
    return _TRANSFERS.get(int(code), "")


def state_range(frame: Any) -> str:  # noqa: ANN401 (as above)
    """The levels of a decoded frame: "tv", "pc", or "" where it states none."""
    return "pc" if frame.format.name.startswith("yuvj") else _RANGES.get(frame.color_range, "")


def frame_facts(frame: Any, height: int, width: int) -> dict[str, Any]:  # noqa: ANN401 (as above)
    """What a decoded frame states of its video.

    Args:
        frame: the first frame.
        height: rows of the pictures before any turn.
        width: columns of them.

    Returns:
        Fields of `VideoInfo` by name.
    """
    orientation = mark_of(frame).orientation
    height, width = (width, height) if orientation.quarter_turns % 2 else (height, width)
    return {
        "pix_fmt": frame.format.name,
        "height": height,
        "width": width,
        "rotation": 90 * orientation.quarter_turns,
        "is_mirrored": orientation.is_mirrored,
        "bit_depth": max(component.bits for component in frame.format.components),
        "colour_range": state_range(frame),
        "is_interlaced": bool(frame.interlaced_frame),
    }


class Marks:
    """The marks of all frames of a video, gathered frame by frame in constant memory."""

    def __init__(self) -> None:
        self._first: Mark | None = None
        self._n_frames = self._n_interlaced = 0
        self._changes: dict[str, int] = {}  # attribute -> first frame where it is another than on the first frame
        self._unusual: dict[str, None] = {}
        self._transfer = ""

    def add(self, mark: Mark) -> None:
        """Takes the marks of the next frame."""
        first = self._first = self._first or mark
        for name in ("orientation", "transfer", "levels"):
            if name not in self._changes and getattr(mark, name) != getattr(first, name):
                self._changes[name] = self._n_frames
        self._n_frames += 1
        self._n_interlaced += mark.is_interlaced
        self._unusual.update(dict.fromkeys(mark.unusual))
        self._transfer = self._transfer or mark.transfer

    def sentences(self, times_s: npt.NDArray[np.float64]) -> Iterator[str]:
        """Yields what makes a score doubtful beyond the marks of the first frame, by the times of the frames."""
        yield from self._unusual
        if self._first is None:
            return
        after = {
            name: f"from {times_s[min(frame, len(times_s) - 1)]:.1f} s on" for name, frame in self._changes.items()
        }
        if "orientation" in after:
            yield f"frames ask to be turned otherwise {after['orientation']}, but all are read as the first one"
        if "levels" in after:
            yield f"pixel format or colour range change {after['levels']}, and levels are read as they are coded"
        if "transfer" in after and not self._first.transfer:
            yield f"frames are coded for {self._transfer} {after['transfer']}, but are scored as standard (SDR) video"
        elif "transfer" in after:
            yield f"frames are coded for another colour transfer {after['transfer']}"
        if self._n_interlaced and not self._first.is_interlaced:
            share = f"{self._n_interlaced} of {self._n_frames} frames are"
            yield f"{share} interlaced and scored as they are coded, so the lines of their fields count as detail"
