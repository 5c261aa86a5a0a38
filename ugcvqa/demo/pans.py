"""Clips from single photographs: the camera pans over the picture, held by a hand."""

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from ugcvqa.demo.scene import Frames
from ugcvqa.errors import VideoError
from ugcvqa.media.imresize import imresize_to

_MARGIN = 0.88  # side of the frame divided by the side of the picture it moves in
_TREMOR_PX = 1.6  # deviation of the hand in pixels of a frame of 540 lines
_GRAIN = 1.2  # levels


def panned(
    photo: NDArray[np.uint8], width: int, height: int, rate: Fraction, n_frames: int, seed: int, motion: float = 1.0
) -> Frames:
    """Pans over a photograph in whole pixels, so that nothing is blurred, with faint grain.

    Source: our own.

    Args:
        photo: (H, W, 3) uint8 RGB, larger than the frames.
        width: columns of the frames, even.
        height: rows of the frames, even.
        rate: frames per second.
        n_frames: how many.
        seed: of the path and the grain.
        motion: factor of the camera's speed and of the hand's tremor.

    Returns:
        (T, height, width, 3) uint8 RGB.

    Raises:
        VideoError: if the photograph is too small.
    """
    rng = np.random.default_rng(seed)
    room = [int(np.ceil(side / _MARGIN)) for side in (height, width)]
    scale = max(needed / side for needed, side in zip(room, photo.shape[:2], strict=True))
    if scale > 1:
        raise VideoError(
            f"a photograph of {photo.shape[1]} x {photo.shape[0]} pixels is too small for frames of {width} x {height}"
        )
    sides = [max(needed, round(side * scale)) for needed, side in zip(room, photo.shape[:2], strict=True)]
    planes = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))
    picture = imresize_to(planes, *sides).numpy().transpose(1, 2, 0)
    time_s = np.arange(n_frames) / float(rate)
    tremor = sum(
        np.sin(2 * np.pi * (hertz * time_s + rng.uniform(size=(2, 1))))
        * motion
        * _TREMOR_PX
        * height
        / 540
        / hertz**0.5
        for hertz in (0.7, 2.3, 4.1)
    )
    free = np.array(sides)[:, None] - np.array([[height], [width]])
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.06) * motion * width
    way = np.array([[np.sin(angle)], [np.cos(angle)]]) * speed * time_s
    path = np.clip(np.rint(free / 2 + way - way.mean(axis=1, keepdims=True) + tremor), 0, free).astype(int)
    grain = rng.normal(0, _GRAIN, 2 * height * width).astype(np.float32)
    frames = np.empty((n_frames, height, width, 3), np.uint8)
    for frame, (top, left) in zip(frames, path.T.tolist(), strict=True):
        start = int(rng.integers(height * width))
        noisy = picture[top : top + height, left : left + width] + grain[start : start + height * width].reshape(
            height, width, 1
        )
        np.clip(np.rint(noisy), 0, 255, out=frame, casting="unsafe")
    return frames
