"""Pictures for pages: made smaller, and as text that stands inside a page. Pillow's only door."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

Image = npt.NDArray[np.uint8]

_QUALITY = 82


def resized(image: Image, width: int, height: int) -> Image:
    """Scales a picture (H, W, 3) or (H, W) uint8 to a size in pixels, with a Lanczos filter."""
    filtered = Pillow.fromarray(np.ascontiguousarray(image)).resize((width, height), Pillow.Resampling.LANCZOS)
    return np.asarray(filtered, dtype=np.uint8)


def shrunk(image: Image, long_side_px: int) -> Image:
    """Scales a picture (H, W, 3) uint8 so that its longer side has at most so many pixels; never enlarges it."""
    height, width = image.shape[:2]
    factor = long_side_px / max(height, width)
    if factor >= 1:
        return image
    return resized(image, max(1, round(width * factor)), max(1, round(height * factor)))


def enlarged_map(values: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Scales a map (H, W) float32 to a size in pixels, bilinear."""
    filtered = Pillow.fromarray(values.astype(np.float32)).resize((width, height), Pillow.Resampling.BILINEAR)
    return np.asarray(filtered, dtype=np.float32)


def data_uri(image: Image, is_exact: bool = False) -> str:
    """Writes a picture (H, W, 3) uint8 as a `data:` address with a WebP file in it.

    `is_exact` keeps every pixel as it is, for pictures whose defects are to be seen.
    """
    file = io.BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(image))
    picture.save(file, "WEBP", lossless=is_exact, quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
