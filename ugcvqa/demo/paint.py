"""Textures and brushes of the built-in demo scenes: 1/f noise, occluding shapes, text, sky, moved views.

Pictures are float32 levels 0..255, (height, width, 3) RGB or (height, width) grey.
"""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Levels = NDArray[np.float32]
Random = np.random.Generator


def noise(rng: Random, height: int, width: int, exponent: float) -> Levels:
    """Draws a tileable (height, width) texture of spectrum 1/f^exponent, mean 0 and deviation 1."""
    spectrum = scipy.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    radius[0, 0] = np.inf
    texture = scipy.fft.irfft2(spectrum * (radius**-exponent).astype(np.float32), s=(height, width))
    return np.asarray(texture / texture.std(), np.float32)


def tint(values: Levels, *colours: tuple[int, int, int]) -> Levels:
    """Maps values -2..2 to a ramp of RGB colours: (H, W) -> (H, W, 3)."""
    stops = np.linspace(-2.0, 2.0, len(colours))
    channels = [np.interp(values, stops, [colour[c] for colour in colours]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def palette(rng: Random, n_colours: int, low: int = 20, high: int = 235) -> list[tuple[int, int, int]]:
    """Draws muted colours from dark to light, as most things outdoors have."""
    grey = np.linspace(low, high, n_colours)[:, None]
    colours = np.clip(grey + rng.normal(0.0, 18.0, size=(n_colours, 3)), 0, 255).astype(int)
    return [(int(r), int(g), int(b)) for r, g, b in colours]


def along(axis: int, texture: Levels, where: NDArray[Any]) -> Levels:
    """Samples a tileable texture linearly at positions (n,) along one axis, which gets length n."""
    low = np.floor(where).astype(int)
    shape = [1] * texture.ndim
    shape[axis] = len(where)
    share = (where - low).astype(np.float32).reshape(shape)
    length = texture.shape[axis]
    near = texture.take(low % length, axis=axis)
    far = texture.take((low + 1) % length, axis=axis)
    return np.asarray(near + share * (far - near), np.float32)


def view(texture: Levels, size: tuple[int, int], x: float, y: float, zoom: float = 1.0) -> Levels:
    """Cuts (height, width) = `size` from a tileable texture at (x, y), `zoom` texture pixels per pixel."""
    height, width = size
    rows, columns = y + zoom * np.arange(height), x + zoom * np.arange(width)
    if height * texture.shape[1] < width * texture.shape[0]:  # first the axis that leaves less to do
        return along(1, along(0, texture, rows), columns)
    return along(0, along(1, texture, columns), rows)


def warp(texture: Levels, x: NDArray[Any], y: NDArray[Any]) -> Levels:
    """Samples a tileable texture bilinearly at any coordinates (H, W)."""
    height, width = texture.shape[:2]
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    across = (x - left).astype(np.float32)[..., None]
    down = (y - top).astype(np.float32)[..., None]
    flat = texture.reshape(height * width, -1)
    rows, below = top % height * width, (top + 1) % height * width
    columns, right = left % width, (left + 1) % width
    upper = flat.take(rows + columns, axis=0) * (1 - across) + flat.take(rows + right, axis=0) * across
    lower = flat.take(below + columns, axis=0) * (1 - across) + flat.take(below + right, axis=0) * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def paste(picture: Levels, sprite: Levels, cover: Levels, x: float, y: float) -> None:
    """Lays a sprite (h, w, 3) with cover 0..1 (h, w, 1) over the picture, its corner at sub-pixel (x, y).

    The sprite's outermost pixels must be uncovered, for the shift wraps round.
    """
    left, top = int(np.floor(x)), int(np.floor(y))
    height, width = cover.shape[:2]
    x0, x1 = max(left, 0), min(left + width, picture.shape[1])
    y0, y1 = max(top, 0), min(top + height, picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    moved = np.concatenate([sprite * cover, cover], axis=-1)
    for axis, share in ((1, np.float32(x - left)), (0, np.float32(y - top))):
        moved = moved + share * (np.roll(moved, 1, axis=axis) - moved)
    moved = moved[y0 - top : y1 - top, x0 - left : x1 - left]
    region = picture[y0:y1, x0:x1]
    region *= 1 - moved[..., 3:]
    region += moved[..., :3]


def ball(radius: float, colour: tuple[int, int, int], gloss: float = 0.6) -> tuple[Levels, Levels]:
    """Shades a ball lit from the upper left; returns its sprite and cover."""
    half = int(np.ceil(radius)) + 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) / np.float32(radius)
    squared = u * u + v * v
    depth = np.sqrt(np.maximum(1.0 - squared, 0.0))
    light = np.clip(-0.5 * u - 0.6 * v + 0.62 * depth, 0.0, 1.0)
    shade = (0.25 + 0.75 * light)[..., None] * np.array(colour, np.float32) + gloss * 255 * light[..., None] ** 30
    cover = np.clip((1.0 - np.sqrt(squared)) * radius + 0.5, 0.0, 1.0)[..., None]
    return shade.astype(np.float32), cover.astype(np.float32)


def strew(rng: Random, texture: Levels, count: int, smallest: float, largest: float) -> None:
    """Lays `count` occluding discs and boxes on a texture, softly shaded, radii by the power law r^-3."""
    height, width = texture.shape[:2]
    share = rng.uniform(size=count)
    radii = 1 / np.sqrt(share / largest**2 + (1 - share) / smallest**2)
    for radius in radii:
        half = int(radius) + 2
        v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
        turn = rng.uniform(0, np.pi)
        a, b = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        if rng.uniform() < 0.5:
            distance = np.hypot(a, b * rng.uniform(1.0, 2.5))
        else:
            distance = np.maximum(np.abs(a), np.abs(b) * rng.uniform(1.0, 2.5)) * 1.4
        cover = np.clip(radius - distance + 0.5, 0.0, 1.0)[..., None]
        colour = rng.uniform(30, 225) + rng.normal(0, 30, size=3)
        shade = 1 + rng.uniform(-0.35, 0.35) * a[..., None] / radius
        x, y = float(rng.integers(width)), float(rng.integers(height))
        paste(texture, (shade * colour).astype(np.float32), cover, x, y)


def lines_of_text(rng: Random, height: int, width: int, ink: float, paper: float, pitch: int = 14) -> Levels:
    """Sets a page of strokes in letters, words, lines and paragraphs: (height, width, 3)."""
    page = np.full((height, width), paper, np.float32)
    for top in range(pitch, height - pitch, pitch):
        if rng.uniform() < 0.12:
            continue
        x, end = 12, width - 12 - int(rng.integers(width // 3))
        while x < end:
            for _ in range(int(rng.integers(2, 9))):
                size = int(rng.integers(3, 6))
                stem, bar = int(rng.integers(0, 2)), int(rng.integers(0, size + 3))
                page[top : top + size + 3, x + stem] = ink
                page[top + bar, x : x + size] = ink
                if rng.uniform() < 0.5:
                    page[top + 3 : top + size + 3, x + size - 1] = ink
                x += size + 2
                if x > end:
                    break
            x += 5
    return np.repeat(page[..., None], 3, axis=-1)


def sky(rng: Random, height: int, width: int) -> Levels:
    """Paints a gradient with clouds, tileable sideways: (height, width, 3)."""
    high, low = (rng.uniform(c - 25, c + 25, size=3) for c in (np.array([70, 120, 190]), np.array([215, 205, 200])))
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    clouds = np.clip(noise(rng, height, width, 1.6) * 0.5 + 0.1, 0.0, 1.0)[..., None]
    return np.asarray((high + (low - high) * down) * (1 - clouds) + 240 * clouds, np.float32)
