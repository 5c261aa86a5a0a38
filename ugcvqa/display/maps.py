"""Maps as colours, alone and over their frames."""

import numpy as np
import numpy.typing as npt

from ugcvqa.display.images import Image

_OVERLAY_STRENGTH = 0.7
_MARK, _MARK_STRENGTH = (255, 60, 0), 0.65


def coloured(values: npt.ArrayLike) -> Image:
    """Colours values 0..1 (H, W) as (H, W, 3) uint8 with the colour map viridis."""
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](np.asarray(values, dtype=np.float64), bytes=True)[..., :3])


def overlay(frame: Image, saliency: npt.NDArray[np.float32]) -> Image:
    """Lays a map over its frame, standardised for display; a frame without a map stays as it is.

    Source: the paper's public script for Figure 1: 0.5 + 0.1 (map - mean) / deviation, colour map viridis, opacity 0.7.

    Args:
        frame: (H, W, 3) uint8.
        saliency: (H, W) float32, 0..1.

    Returns:
        (H, W, 3) uint8.
    """
    if not saliency.max() > 0:
        return frame
    shown = np.clip(0.5 + 0.1 * (saliency - saliency.mean()) / max(float(saliency.std(ddof=1)), 1e-7), 0, 1)
    mixed = _OVERLAY_STRENGTH * coloured(shown).astype(np.float64) + (1 - _OVERLAY_STRENGTH) * frame
    return np.asarray(np.round(mixed), dtype=np.uint8)


def marked(frame: Image, cells: npt.NDArray[np.float32]) -> Image:
    """Tints a frame where a map has large values, and leaves it as it is where the map is 0.

    Args:
        frame: (H, W, 3) uint8.
        cells: (H, W) float32, 0..1.

    Returns:
        (H, W, 3) uint8.
    """
    share = _MARK_STRENGTH * np.clip(cells, 0, 1)[..., None]
    return np.asarray(np.round((1 - share) * frame + share * np.array(_MARK)), dtype=np.uint8)
