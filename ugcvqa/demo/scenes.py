"""Clean scenes of the built-in demo set: moving pictures rendered with numpy from a seed, no files needed.

Each kind of scene paints textures larger than the frame once and then only moves them: sub-pixel crops for
pans and zooms, warps for perspective, small sprites for objects.
"""

from collections.abc import Callable

import numpy as np

from ugcvqa.demo import manmade, nature
from ugcvqa.demo.paint import Levels, Random
from ugcvqa.demo.scene import Frames, Painter, Scene


def render_scene(scene: Scene) -> Frames:
    """Renders a clean scene.

    Source: our own. The statistics follow natural images: 1/f spectra, occluding shaded objects whose sizes
    obey a power law ("dead leaves", Lee, Mumford and Huang, 2001), a handheld camera, faint sensor grain.

    Args:
        scene: what to render.

    Returns:
        (T, H, W, 3) uint8 RGB frames; equal scenes give equal frames.
    """
    rng = np.random.default_rng(scene.seed)
    paint = KINDS[scene.kind](scene, rng)
    grain = rng.normal(0.0, rng.uniform(0.4, 1.4), size=2 * scene.height * scene.width).astype(np.float32)
    frames = np.empty((scene.n_frames, scene.height, scene.width, 3), np.uint8)
    n_pixels = scene.height * scene.width
    for index in range(scene.n_frames):
        start = int(rng.integers(n_pixels))
        noise = grain[start : start + n_pixels].reshape(scene.height, scene.width, 1)
        np.clip(paint(index) + noise, 0.0, 255.0, out=frames[index], casting="unsafe")
    return frames


def _film(scene: Scene, rng: Random) -> Painter:
    """A greyscale film of any of three other kinds, with a vignette and a flickering lamp."""
    paint_colour = (nature.leaves, manmade.city, nature.mountains)[int(rng.integers(3))](scene, rng)
    v, u = np.mgrid[-1 : 1 : scene.height * 1j, -1 : 1 : scene.width * 1j].astype(np.float32)
    vignette = (1.05 - 0.3 * (u * u + v * v)) * np.float32(rng.uniform(0.85, 1.0))
    flicker = 1 + 0.03 * rng.standard_normal(scene.n_frames, dtype=np.float32)

    def paint(t: int) -> Levels:
        colour = paint_colour(t)
        grey = (0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]) * vignette * flicker[t]
        return np.repeat(grey[..., None], 3, axis=-1)

    return paint


KINDS: dict[str, Callable[[Scene, Random], Painter]] = {
    "leaves": nature.leaves,
    "city": manmade.city,
    "water": nature.water,
    "floor": manmade.floor,
    "foliage": nature.foliage,
    "talker": manmade.talker,
    "night": manmade.night,
    "screen": manmade.screen,
    "mountains": nature.mountains,
    "bricks": manmade.bricks,
    "film": _film,
    "crowd": manmade.crowd,
    "smoke": nature.smoke,
}
"""Scene kinds: name -> the function that draws its textures from a generator and returns its painter."""
