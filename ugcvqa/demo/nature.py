"""Scenes of nature: leaves, mountains, water, smoke."""

import numpy as np

from ugcvqa.demo.paint import Levels, Random, noise, palette, sky, strew, tint, view
from ugcvqa.demo.scene import Painter, Scene, camera_path, fleet


def foliage(scene: Scene, rng: Random) -> Painter:
    """Leaves and their shadows at two depths, 1/f in space, panned over."""
    near = tint(noise(rng, 432, 640, 1.0), *palette(rng, 5, 10, 190)[:4], (190, 205, 120))
    far = tint(noise(rng, 300, 480, 1.5), *palette(rng, 4, 120, 240))
    gaps = np.clip(noise(rng, 432, 640, 1.7) * 3 - 1.5, 0, 1)[..., None]
    front = np.concatenate([near, gaps], axis=-1)
    camera = camera_path(scene, rng, pan=0.2)

    def paint(t: int) -> Levels:
        layer = view(front, scene.size, camera.x[t], camera.y[t], camera.zoom[t])
        back = view(far, scene.size, camera.x[t] * 0.4, camera.y[t] * 0.4)
        return layer[..., :3] + layer[..., 3:] * (back - layer[..., :3])

    return paint


def leaves(scene: Scene, rng: Random) -> Painter:
    """Dead leaves: occluding shaded shapes of all sizes, panned and zoomed, with balls drifting past."""
    ground = tint(noise(rng, 420, 640, 1.2), *palette(rng, 5))
    strew(rng, ground, 900, 5, 90)
    camera = camera_path(scene, rng, pan=0.12, zoom=0.25)
    drifters = fleet(scene, rng, 5, 12, 40)

    def paint(t: int) -> Levels:
        picture = view(ground, scene.size, camera.x[t], camera.y[t], camera.zoom[t])
        drifters(picture, t)
        return picture

    return paint


def mountains(scene: Scene, rng: Random) -> Painter:
    """Four ranges of hills in haze before a sky with clouds."""
    backdrop = sky(rng, scene.height, 720)
    haze = backdrop[-1, 0]
    rows = np.arange(scene.height, dtype=np.float32)[:, None]
    layers = []
    for depth in (0.25, 0.45, 0.7, 1.0):
        ridge = scene.height * (0.25 + 0.5 * depth) + 0.09 * scene.height * noise(rng, 1, 720, 1.3)
        cover = np.clip(rows - ridge + 0.5, 0, 1)[..., None]
        rock = tint(noise(rng, scene.height, 720, 1.1), *palette(rng, 4, 20, 150))
        layers.append(np.concatenate([rock * depth + haze * (1 - depth), cover], axis=-1).astype(np.float32))
    camera = camera_path(scene, rng, pan=0.15, zoom=0.05)

    def paint(t: int) -> Levels:
        picture = view(backdrop, scene.size, camera.x[t] * 0.1, 0.0)
        for layer, depth in zip(layers, (0.25, 0.45, 0.7, 1.0), strict=True):
            hill = view(layer, scene.size, camera.x[t] * depth, 0.0, 0.9)
            picture += hill[..., 3:] * (hill[..., :3] - picture)
        return picture

    return paint


def water(scene: Scene, rng: Random) -> Painter:
    """Waves, a sum of moving sines in perspective with glints, below a sky."""
    horizon = int(scene.height * rng.uniform(0.25, 0.45))
    backdrop = sky(rng, scene.height, 640)
    depth = 60.0 / (np.arange(scene.height - horizon, dtype=np.float32)[:, None] + 6.0)
    across = (np.arange(scene.width, dtype=np.float32) - scene.width / 2) * depth / 14
    away = np.broadcast_to(depth * 9, across.shape).astype(np.float32)
    waves = [(f * rng.uniform(-1, 1), f, rng.uniform(1.5, 2.5) * f**0.5) for f in (0.7, 1.1, 1.9, 3.1, 4.7, 7.3)]
    deep, bright = np.array([18, 55, 75], np.float32), np.array([200, 205, 190], np.float32)
    camera = camera_path(scene, rng, pan=0.05)

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        slope = sum(np.sin(a * across + b * away - c * time_s, dtype=np.float32) for a, b, c in waves) / 6
        gleam = np.clip(0.35 + 0.75 * slope + 0.5 * np.maximum(slope, 0) ** 4, 0, 1)[..., None]
        picture = view(backdrop, scene.size, camera.x[t], 0.0)
        picture[horizon:] = deep + gleam * (bright - deep)
        return picture

    return paint


def smoke(scene: Scene, rng: Random) -> Painter:
    """Smoke or flames, two 1/f textures moved through each other, behind a heap of stones."""
    thick, thin = noise(rng, 384, 512, 1.6), noise(rng, 320, 448, 1.1)
    colours = palette(rng, 3, 25, 120) + [(235, 150, 60), (250, 225, 160)][: int(rng.integers(3))]
    ramp = tint(np.linspace(-2, 2, 1024, dtype=np.float32), *colours, (225, 225, 230))
    stones = np.zeros((scene.height, 640, 4), np.float32)
    stones[..., :3] = tint(noise(rng, scene.height, 640, 1.0), *palette(rng, 4, 15, 160))
    strew(rng, stones[..., :3], 500, 5, 40)
    crest = scene.height * 0.62 + 0.1 * scene.height * noise(rng, 1, 640, 1.2)
    stones[..., 3] = np.clip(np.arange(scene.height)[:, None] - crest + 0.5, 0, 1)
    camera = camera_path(scene, rng, pan=0.1)
    rise = rng.uniform(0.15, 0.5) * scene.height / float(scene.rate)

    def paint(t: int) -> Levels:
        slow = view(thick, scene.size, camera.x[t], rise * t, 0.8)
        fast = view(thin, scene.size, -camera.x[t], 1.7 * rise * t)
        heat = np.clip((slow + 0.45 * fast + 2) * 256, 0, 1023).astype(np.int16)
        picture = np.asarray(ramp.take(heat, axis=0), np.float32)
        heap = view(stones, scene.size, camera.x[t], 0.0)
        picture += heap[..., 3:] * (heap[..., :3] - picture)
        return picture

    return paint
