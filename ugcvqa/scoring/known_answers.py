"""Known answers: what a working installation must compute, for a built-in clip and for published examples.

Source: the built-in clip's numbers were computed by this package in float64, after it had met the published features;
UVQ's numbers are those published with its weights (google/uvq) for a video of YouTube-UGC.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ugcvqa.errors import CheckpointError, UgcvqaError, VideoError
from ugcvqa.features.extraction import extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.media.encode import has_encoder, write_video
from ugcvqa.media.video import read_frames
from ugcvqa.scoring.model_file import load
from ugcvqa.scoring.released import released_file
from ugcvqa.scoring.uvq_score import UVQModel
from ugcvqa.settings.features import FamilySettings, UVQSettings
from ugcvqa.uvq.state import SCORE_NAMES

UVQ_CLIP = "Gaming_1080P-0ce6_orig.mp4"
"""The video of YouTube-UGC, folder vp9_compressed_videos, whose UVQ scores are published."""


class CodecTrial(NamedTuple):
    """How a small clip of one codec is made.

    Attributes:
        encoder: name of the FFmpeg encoder.
        suffix: of the file, which gives its container.
        options: of the encoder.
        is_lossless: whether every luma level must come back, but for one level of rounding.
        pix_fmt: pixel format of the encoder.
    """

    encoder: str
    suffix: str
    options: dict[str, str]
    is_lossless: bool
    pix_fmt: str = "yuv420p"


CODECS = {
    "H.264": CodecTrial("libx264", ".mp4", {"qp": "0"}, True),
    "HEVC": CodecTrial(
        "libx265", ".mkv", {"x265-params": "lossless=1:pools=none:frame-threads=1:log-level=none"}, True
    ),
    "VP9": CodecTrial("libvpx-vp9", ".webm", {"lossless": "1"}, True),
    "VP8": CodecTrial("libvpx", ".webm", {"b": "2M", "cpu-used": "8"}, False),
    "AV1": CodecTrial("libsvtav1", ".mp4", {"crf": "10", "preset": "12"}, False),
    "MPEG-4": CodecTrial("mpeg4", ".avi", {"b": "2M"}, False),
    "MPEG-2": CodecTrial("mpeg2video", ".ts", {"b": "2M"}, False),
    "ProRes": CodecTrial("prores_ks", ".mov", {}, False, "yuv422p10le"),
    "FFV1": CodecTrial("ffv1", ".mkv", {}, True),
}
"""Codec -> how its decoder is tried; what is made here is compared with what was meant."""

_SMALLEST_PSNR_DB = 30.0
_SIZE, _RATE, _N_FRAMES = (96, 128), 10, 30
_PLANES_SHA256 = "d135e26a163d4534141b8faaea6de9727dc39534866f6b808cb38ea8f2f291e2"
# fmt: off
_NSS = {
    0: 2.583333, 1: 0.6621547, 33: 1.415399, 68: 3.709167, 100: 2.011667,
    205: 0.7281804, 340: 3.820333, 476: 2.736833, 544: 2.960333, 611: 1.396066,
    700: 0.003333333, 817: 0.0009169209, 950: 0.029, 1054: 0.06233333, 1190: 0.1183333,
    1292: 0.2506667, 1360: 2.784333, 1377: -0.1284806, 1444: 0.9026667, 1490: 2.034333,
    1547: -0.09138511, 1601: 19.24399, 1666: 3.574, 1702: 31.96539, 1751: 0.007617425,
    1799: 1.426517, 1835: 1.363474,
}
# fmt: on
_RELEASED = {"nss_container": 2.9346, "nss_pixels": 2.6595}  # `pred` of the built-in clip, from float64 features too
_RELEASED_TOLERANCE = 0.01
_UVQ_TOLERANCE = 1e-3
_UVQ10 = dict(
    zip(SCORE_NAMES, (3.9275655, 3.9483354, 4.2671991, 3.9535892, 4.0618366, 4.0701896, 4.0606122), strict=True)
)
_UVQ15, _UVQ15_SECONDS = (
    3.8803620,
    (
        *(4.021928, 4.013788, 4.110748, 4.142043, 4.153699, 4.147506, 4.149798, 4.149064, 4.149083, 4.133815),
        *(3.563668, 3.804511, 3.630220, 3.649561, 3.626020, 3.613697, 3.505058, 3.703103, 3.676197, 3.663727),
    ),
)


def write_clip(path: Path) -> None:
    """Writes the built-in clip: three seconds of moving coloured texture, without loss.

    Raises:
        VideoError: if it cannot be written.
    """
    height, width = _SIZE
    source = np.random.RandomState(1)
    texture = source.randint(0, 256, (height + _N_FRAMES, width + _N_FRAMES, 3))
    for axis in (0, 1):  # coarser, in whole numbers, so that the clip is the same everywhere
        texture = (texture + np.roll(texture, 1, axis) + np.roll(texture, 2, axis)) // 3
    frames = (texture[k : k + height, 2 * k % 30 :][:, :width].astype(np.uint8) for k in range(_N_FRAMES))
    write_video(path, frames, _RATE, "ffv1")


def check_decoder(clip: Path) -> str:
    """Compares the planes of the built-in clip bit for bit.

    Returns:
        What was found.

    Raises:
        VideoError: if they differ.
    """
    digest = hashlib.sha256()
    n_frames = 0
    for form in ("y", "u", "v"):
        for _, _, image in read_frames(clip, form=form):
            digest.update(np.ascontiguousarray(image).tobytes())
            n_frames += form == "y"
    if digest.hexdigest() != _PLANES_SHA256:
        raise VideoError(f"the built-in clip decodes to other pixels (SHA-256 {digest.hexdigest()}); reinstall PyAV")
    return f"{n_frames} frames bit for bit"


def check_codec(name: str, folder: Path) -> str | None:
    """Encodes a few grey frames and compares what the decoder makes of them with what they were.

    Args:
        name: key of `CODECS`.
        folder: where the clip is written.

    Returns:
        What was found; None if this build of FFmpeg cannot encode it.

    Raises:
        VideoError: if the clip cannot be read, or reads as something else.
    """
    trial = CODECS[name]
    if not has_encoder(trial.encoder):
        return None
    ramp = np.add.outer(np.arange(64), np.arange(96))
    levels = np.stack([(ramp + 7 * k) % 200 + 20 for k in range(8)])
    path = folder / f"{trial.encoder}{trial.suffix}"
    frames = (np.repeat(image[..., None], 3, -1).astype(np.uint8) for image in levels)
    write_video(path, frames, 10, trial.encoder, options=trial.options, pix_fmt=trial.pix_fmt)
    found = np.stack([image for _, _, image in read_frames(path, form="y")]).astype(float)
    error = found - (16 + levels * 219 / 255) if found.shape == levels.shape else np.array(math.inf)
    psnr_db = 10 * math.log10(255**2 / max(float(np.mean(error**2)), 1e-3))
    is_met = np.abs(error).max() <= 1 if trial.is_lossless else psnr_db >= _SMALLEST_PSNR_DB
    if not is_met:
        raise VideoError(f"{len(found)} frames of {name} decode to other pixels ({psnr_db:.0f} dB); reinstall PyAV")
    return f"{len(found)} frames, " + ("every level" if trial.is_lossless else f"{psnr_db:.0f} dB")


def check_nss(clip: Path) -> str:
    """Compares NSS features of the built-in clip, at the tolerance of float32.

    Returns:
        What was found.

    Raises:
        VideoError: if they differ.
    """
    features = _features(clip)
    worst = max(abs(features[index] - value) / (3e-3 + 1e-3 * abs(value)) for index, value in _NSS.items())
    if not worst <= 1:
        raise VideoError(
            f"NSS features of the built-in clip differ, {worst:.1f} times the tolerance; reinstall Numba and PyTorch"
        )
    return f"{len(_NSS)} of {len(features)} features, within {worst:.2f} of the tolerance"


def _features(clip: Path) -> np.ndarray:
    families = build_families(("nss",), FamilySettings())
    (result,) = extract_features(ClipStream([Task(str(clip), str(clip))], families), families)
    if result.reason:
        raise VideoError(result.reason)
    return result.features["nss"]["video"]


def check_released(name: str, clip: Path) -> str:
    """Checks the file of a released model, and its score of the built-in clip.

    Args:
        name: a key of `released.SHA256`.
        clip: the built-in clip.

    Returns:
        What was found.

    Raises:
        UgcvqaError: if the file is missing or damaged, network weights are missing, or the score differs.
    """
    pred, known = load(released_file(name)).score(clip).pred, _RELEASED[name]
    if not abs(pred - known) <= _RELEASED_TOLERANCE:
        raise CheckpointError(
            f"model {name} gives the built-in clip {pred:.4f}, not {known:.4f}; reinstall Numba and PyTorch"
        )
    return f"SHA-256 as released, the built-in clip has {pred:.2f}"


def check_uvq(version: Literal["uvq", "uvq1.5"], settings: UVQSettings, clip: str, device: str) -> str:
    """Compares UVQ's scores of its published example.

    Args:
        version: `uvq` or `uvq1.5`.
        settings: the user's weights.
        clip: the file `UVQ_CLIP`.
        device: where to compute.

    Returns:
        What was found.

    Raises:
        UgcvqaError: if a score differs, or cannot be computed.
    """
    published = _UVQ10 if version == "uvq" else {"score": _UVQ15, **_by_second(_UVQ15_SECONDS)}
    model = UVQModel(version, UVQSettings(settings.weights, "reference"))
    score = model.score(clip, device)
    found = {**score.parts, "score": score.pred, **_by_second(score.details["seconds"])}
    # Scores whose aggregation weights the user lacks are NaN.
    known = {name: value for name, value in published.items() if not math.isnan(found.get(name, 0.0))}
    worst, name = max((abs(found.get(name, 0.0) - value), name) for name, value in known.items())
    if not worst <= _UVQ_TOLERANCE:
        raise UgcvqaError(
            f"{clip}: {name} is {found.get(name, 0.0):.6f}, published is {known[name]:.6f}; check file and weights"
        )
    return f"{len(known)} published scores met, largest difference {worst:.1e}"


def _by_second(scores: Sequence[float]) -> dict[str, float]:
    return {f"second {number}": score for number, score in enumerate(scores)}
