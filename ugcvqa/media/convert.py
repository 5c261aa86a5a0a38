"""Decoded frames to arrays: planes with the levels of the file, RGB by its tags, and the networks' small forms."""

from collections.abc import Mapping, Sequence

import av
import av.filter
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ugcvqa.errors import VideoError
from ugcvqa.media.facts import VideoInfo
from ugcvqa.media.levels import GLANCE_PX
from ugcvqa.media.opening import one_line
from ugcvqa.media.sampling import FIXED_SIZES, SMALL_SIDE_PX

# The exact integer paths of the converter: the same planes on every CPU.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_PLANAR_420 = frozenset({"yuv420p", "yuvj420p", "yuva420p"})
# UVQ's own preprocessing, word for word: the reformatter gives other pixels.
_FIT720 = (
    ("scale", "w=1280:h=720:flags=bicubic:force_original_aspect_ratio=1"),
    ("pad", "1280:720:(ow-iw)/2:(oh-ih)/2"),
    ("format", "rgb24"),
)
_FIT496 = (("scale", "496:496:flags=bilinear"),)
_STRETCH1080 = (("scale", "w=1920:h=1080:flags=bicubic"), ("format", "rgb24"))
_FILTERED = frozenset({"fit720", "fit496", "stretch1080"})
_TURNED = frozenset({"shown", *FIXED_SIZES})
# Mirror and counter-clockwise quarter turns, as the ffmpeg program applies them before any other filter.
_MIRROR = ("hflip", "")
_TURNS = {0: (), 1: (("transpose", "cclock"),), 2: (("hflip", ""), ("vflip", "")), 3: (("transpose", "clock"),)}


class Converter:
    """Turns decoded frames into the forms of `sampling.FORMS`; keeps the scaler's tables between frames."""

    def __init__(self, info: VideoInfo) -> None:
        self._rgb_range = ColorRange.JPEG if info.is_rgb_of_full_range else ColorRange.MPEG
        self._info, self._orientation = info, info.orientation
        self._rgb, self._yuv = VideoReformatter(), VideoReformatter()
        self._shown, self._glance = VideoReformatter(), VideoReformatter()
        self._squash, self._small_rgb = VideoReformatter(), VideoReformatter()
        turn = (*([_MIRROR] if info.is_mirrored else []), *_TURNS[info.orientation.quarter_turns])
        self._fit720, self._fit496 = _FilterChain((*turn, *_FIT720)), _FilterChain(_FIT496)
        self._stretch1080 = _FilterChain((*turn, *_STRETCH1080))

    def __call__(self, frame: av.VideoFrame, forms: set[str]) -> dict[str, np.ndarray]:
        """Arrays of the wanted forms, as views where possible; "rgb" is (H, W, 3)."""
        images: dict[str, np.ndarray] = {}
        try:
            if forms & {"rgb", "shown"}:
                images["rgb"] = _pixels(self._rgb.reformat(frame, format="rgb24", threads=1), 0, 3)
            if "shown" in forms:
                images["shown"] = self._as_displayed(images["rgb"])
            if forms - _FILTERED - {"rgb", "shown"}:
                images.update(self._planes(frame))
            if forms & _FILTERED:
                images.update(self._filtered(frame, forms))
            if "rgb224" in forms:
                images["rgb224"] = self._small(images)
        except (av.FFmpegError, ValueError) as error:
            raise self._refusal(frame, error) from error
        return {form: images[form] if form in _TURNED else self._orientation.apply(images[form]) for form in forms}

    def glance(self, frame: av.VideoFrame) -> np.ndarray:
        """Some luma levels (64, 64) uint8 of a frame, evenly spread, 0 black to 255 white whatever its range."""
        is_full = frame.color_range == int(ColorRange.JPEG) or frame.format.name.startswith("yuvj")
        try:
            levels = self._glance.reformat(
                frame,
                GLANCE_PX,
                GLANCE_PX,
                "gray",
                interpolation=Interpolation.POINT,
                src_color_range=int(ColorRange.JPEG if is_full or frame.format.is_rgb else ColorRange.MPEG),
                dst_color_range=int(ColorRange.JPEG),
                threads=1,
            )
        except (av.FFmpegError, ValueError) as error:
            raise self._refusal(frame, error) from error
        return _pixels(levels, 0)

    def _refusal(self, frame: av.VideoFrame, error: Exception) -> VideoError:
        return VideoError(
            f"{self._info.path}: pixel format {frame.format.name} cannot be converted ({one_line(error)})"
        )

    def _as_displayed(self, rgb: np.ndarray) -> np.ndarray:
        """The part that is shown, with square pixels, of RGB as decoded."""
        image = self._info.cut_to_shown(self._orientation.apply(rgb))
        height, width = self._info.shown_size
        if image.shape[:2] == (height, width):
            return image
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        return _pixels(self._shown.reformat(frame, width, height, "rgb24", interpolation=EXACT, threads=1), 0, 3)

    def _small(self, planes: Mapping[str, np.ndarray]) -> np.ndarray:
        """The planes squashed to (224, 224, 3) RGB.

        The frame is rebuilt from its planes and so loses its tags: with chroma siting the scaler would differ from
        the raw video that the RVS-resize code reads.
        """
        frame = frame_of_planes([self._orientation.apply(planes[form]) for form in ("y", "u", "v")])
        side = SMALL_SIDE_PX
        small = self._squash.reformat(frame, side, side, "yuv420p", interpolation=Interpolation.LANCZOS, threads=1)
        return _pixels(self._small_rgb.reformat(small, format="rgb24", threads=1), 0, 3)

    def _filtered(self, frame: av.VideoFrame, forms: set[str]) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        if forms & {"fit720", "fit496"}:
            fitted = self._fit720(frame)
            images["fit720"] = _pixels(fitted, 0, 3)
            if "fit496" in forms:
                images["fit496"] = _pixels(self._fit496(fitted), 0, 3)
        if "stretch1080" in forms:
            images["stretch1080"] = _pixels(self._stretch1080(frame), 0, 3)
        return images

    def _planes(self, frame: av.VideoFrame) -> dict[str, np.ndarray]:
        """8-bit 4:2:0 planes with the levels of the file: depth and subsampling change, range and matrix do not."""
        form = frame.format
        if form.name.startswith(("gray", "ya", "mono")):
            half = ((frame.height + 1) // 2, (frame.width + 1) // 2)
            neutral = np.broadcast_to(np.uint8(128), half)
            return {"y": _pixels(self._to(frame, "gray"), 0), "u": neutral, "v": neutral}
        if form.name not in _PLANAR_420:
            frame = self._to(frame, "yuv420p")
        return {name: _pixels(frame, plane) for plane, name in enumerate("yuv")}

    def _to(self, frame: av.VideoFrame, name: str) -> av.VideoFrame:
        """Another pixel format, at the same levels unless the frame is RGB (then BT.601, limited range by default)."""
        source = frame.color_range or int(ColorRange.MPEG)
        target, matrix = source, None
        if frame.format.is_rgb or frame.format.has_palette:
            source, target, matrix = int(ColorRange.JPEG), int(self._rgb_range), int(Colorspace.ITU601)
        return self._yuv.reformat(
            frame,
            format=name,
            dst_colorspace=matrix,
            interpolation=EXACT,
            src_color_range=source,
            dst_color_range=target,
            threads=1,
        )


class _FilterChain:
    """A chain of FFmpeg filters that gives one frame for each frame, by one thread."""

    def __init__(self, filters: tuple[tuple[str, str], ...]) -> None:
        self._filters, self._graph, self._source = filters, av.filter.Graph(), ""

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        source = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1"
        if not frame.format.is_rgb:
            source += f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        if source != self._source:
            self._configure(source)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _configure(self, source: str) -> None:
        self._graph, self._source = av.filter.Graph(), source
        self._graph.threads = 1
        steps = (("buffer", source), *self._filters, ("buffersink", ""))
        self._graph.link_nodes(*[self._graph.add(name, text or None) for name, text in steps]).configure()


def frame_of_planes(planes: Sequence[np.ndarray]) -> av.VideoFrame:
    """A frame without tags of Y (H, W), U and V (ceil(H/2), ceil(W/2)), uint8.

    Raises:
        ValueError: if the planes do not match.
    """
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        if values.shape != (plane.height, plane.width):
            raise ValueError(f"a plane is {values.shape}, not {(plane.height, plane.width)} as 4:2:0 wants")
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = values
        plane.update(padded.tobytes())
    return frame


def _pixels(frame: av.VideoFrame, plane_index: int, channels: int = 1) -> np.ndarray:
    """A view of one 8-bit plane without its padding."""
    plane = frame.planes[plane_index]
    rows: np.ndarray = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:  # stored bottom row first
        rows = rows[::-1]
    image = rows[:, : plane.width * channels]
    return image.reshape(plane.height, plane.width, channels) if channels > 1 else image
