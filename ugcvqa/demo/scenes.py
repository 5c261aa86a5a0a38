"""Clean scenes of the built-in demo set: moving pictures rendered with numpy from a seed, no files needed.

Each kind of scene paints textures larger than the frame once and then only moves them: sub-pixel crops for
pans and zooms, warps for perspective, small sprites for objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.paint import (
    Levels,
    Random,
    ball,
    lines_of_text,
    noise,
    palette,
    paste,
    sky,
    strew,
    tint,
    view,
    warp,
)

Frames = NDArray[np.uint8]
Painter = Callable[[int], Levels]


@dataclass(frozen=True)
class Scene:
    """What fixes a clean scene completely.

    Attributes:
        kind: a key of `KINDS`.
        seed: seeds every choice inside the scene.
        width: frame width in pixels, even.
        height: frame height in pixels, even.
        rate: frames per second.
        n_frames: frames T of the scene.
    """

    kind: str
    seed: int
    width: int
    height: int
    rate: Fraction
    n_frames: int


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


@dataclass(frozen=True)
class _Camera:
    """Where the view's top left corner lies in scene pixels, and scene pixels per frame pixel, by frame."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    zoom: NDArray[np.float64]


def _camera(scene: Scene, rng: Random, pan: float = 0.15, zoom: float = 0.1, hand: float = 1.0) -> _Camera:
    """Draws a camera path: a pan (widths per s), a zoom (e-folds per s) and a hand's tremor (pixels)."""
    time_s = np.arange(scene.n_frames) / float(scene.rate)
    angle = rng.uniform(-0.5, 0.5) + np.pi * rng.integers(2)
    speed = rng.uniform(0.3, 1.0) * pan * scene.width
    tremor = np.zeros((2, scene.n_frames))
    for hertz in (0.6, 1.7, 3.9):
        phase = rng.uniform(0, 2 * np.pi, size=(2, 1))
        tremor += rng.uniform(0, hand, size=(2, 1)) / hertz * np.sin(2 * np.pi * hertz * time_s + phase)
    start = rng.uniform(0, 200, size=2)
    return _Camera(
        x=start[0] + speed * np.cos(angle) * time_s + tremor[0],
        y=start[1] + speed * np.sin(angle) * time_s + tremor[1],
        zoom=rng.uniform(0.85, 1.0) * np.exp(rng.uniform(-zoom, zoom) * time_s),
    )


def _size(scene: Scene) -> tuple[int, int]:
    return scene.height, scene.width


def _foliage(scene: Scene, rng: Random) -> Painter:
    """Leaves and their shadows at two depths, 1/f in space, panned over."""
    near = tint(noise(rng, 432, 640, 1.0), *palette(rng, 5, 10, 190)[:4], (190, 205, 120))
    far = tint(noise(rng, 300, 480, 1.5), *palette(rng, 4, 120, 240))
    gaps = np.clip(noise(rng, 432, 640, 1.7) * 3 - 1.5, 0, 1)[..., None]
    front = np.concatenate([near, gaps], axis=-1)
    camera = _camera(scene, rng, pan=0.2)

    def paint(t: int) -> Levels:
        layer = view(front, _size(scene), camera.x[t], camera.y[t], camera.zoom[t])
        back = view(far, _size(scene), camera.x[t] * 0.4, camera.y[t] * 0.4)
        return layer[..., :3] + layer[..., 3:] * (back - layer[..., :3])

    return paint


def _leaves(scene: Scene, rng: Random) -> Painter:
    """Dead leaves: occluding shaded shapes of all sizes, panned and zoomed, with balls drifting past."""
    ground = tint(noise(rng, 420, 640, 1.2), *palette(rng, 5))
    strew(rng, ground, 900, 5, 90)
    camera = _camera(scene, rng, pan=0.12, zoom=0.25)
    drifters = _fleet(scene, rng, 5, 12, 40)

    def paint(t: int) -> Levels:
        picture = view(ground, _size(scene), camera.x[t], camera.y[t], camera.zoom[t])
        drifters(picture, t)
        return picture

    return paint


def _film(scene: Scene, rng: Random) -> Painter:
    """A greyscale film of any of three other kinds, with a vignette and a flickering lamp."""
    paint_colour = (_leaves, _city, _mountains)[int(rng.integers(3))](scene, rng)
    v, u = np.mgrid[-1 : 1 : scene.height * 1j, -1 : 1 : scene.width * 1j].astype(np.float32)
    vignette = (1.05 - 0.3 * (u * u + v * v)) * np.float32(rng.uniform(0.85, 1.0))
    flicker = 1 + 0.03 * rng.standard_normal(scene.n_frames, dtype=np.float32)

    def paint(t: int) -> Levels:
        colour = paint_colour(t)
        grey = (0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]) * vignette * flicker[t]
        return np.repeat(grey[..., None], 3, axis=-1)

    return paint


def _city(scene: Scene, rng: Random) -> Painter:
    """Two rows of buildings with lit windows under a sky; nearer things pass faster."""
    skyline = sky(rng, scene.height, 640)
    rows = [_houses(scene, rng, pitch, top) for pitch, top in ((9, 0.25), (14, 0.5))]
    camera = _camera(scene, rng, pan=0.25, hand=0.8)

    def paint(t: int) -> Levels:
        picture = view(skyline, _size(scene), camera.x[t] * 0.15, 0.0)
        for row, depth in zip(rows, (0.5, 1.0), strict=True):
            layer = view(row, _size(scene), camera.x[t] * depth, 0.0)
            picture += layer[..., 3:] * (layer[..., :3] - picture)
        return picture

    return paint


def _houses(scene: Scene, rng: Random, pitch: int, top: float) -> Levels:
    """Builds a tileable row of houses as (height, 840, 4): colour and cover."""
    row = np.zeros((scene.height, 840, 4), np.float32)
    x = 0
    while x < 840:
        width = pitch * int(rng.integers(4, 10))
        roof = int(scene.height * rng.uniform(top, top + 0.35))
        block = row[roof:, x : x + width]
        block[..., :3] = rng.uniform(60, 190) + rng.normal(0, 18, size=3)
        block[..., :3] *= np.linspace(1.0, 0.75, block.shape[1])[:, None]
        block[..., 3] = 1.0
        for y in range(4, block.shape[0] - pitch, pitch):
            for column in range(3, block.shape[1] - pitch // 2, pitch):
                pane = rng.choice([35.0, 70.0, 225.0], p=[0.5, 0.35, 0.15])
                block[y : y + pitch * 2 // 3, column : column + pitch // 2, :3] = pane
        x += width
    row[..., :3] += 7 * noise(rng, scene.height, 840, 0.8)[..., None]
    return row


def _mountains(scene: Scene, rng: Random) -> Painter:
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
    camera = _camera(scene, rng, pan=0.15, zoom=0.05)

    def paint(t: int) -> Levels:
        picture = view(backdrop, _size(scene), camera.x[t] * 0.1, 0.0)
        for layer, depth in zip(layers, (0.25, 0.45, 0.7, 1.0), strict=True):
            hill = view(layer, _size(scene), camera.x[t] * depth, 0.0, 0.9)
            picture += hill[..., 3:] * (hill[..., :3] - picture)
        return picture

    return paint


def _water(scene: Scene, rng: Random) -> Painter:
    """Waves, a sum of moving sines in perspective with glints, below a sky."""
    horizon = int(scene.height * rng.uniform(0.25, 0.45))
    backdrop = sky(rng, scene.height, 640)
    depth = 60.0 / (np.arange(scene.height - horizon, dtype=np.float32)[:, None] + 6.0)
    across = (np.arange(scene.width, dtype=np.float32) - scene.width / 2) * depth / 14
    away = np.broadcast_to(depth * 9, across.shape).astype(np.float32)
    waves = [(f * rng.uniform(-1, 1), f, rng.uniform(1.5, 2.5) * f**0.5) for f in (0.7, 1.1, 1.9, 3.1, 4.7, 7.3)]
    deep, bright = np.array([18, 55, 75], np.float32), np.array([200, 205, 190], np.float32)
    camera = _camera(scene, rng, pan=0.05)

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        slope = sum(np.sin(a * across + b * away - c * time_s, dtype=np.float32) for a, b, c in waves) / 6
        gleam = np.clip(0.35 + 0.75 * slope + 0.5 * np.maximum(slope, 0) ** 4, 0, 1)[..., None]
        picture = view(backdrop, _size(scene), camera.x[t], 0.0)
        picture[horizon:] = deep + gleam * (bright - deep)
        return picture

    return paint


def _fleet(scene: Scene, rng: Random, count: int, smallest: float, largest: float) -> Callable[[Levels, int], None]:
    """Draws balls on straight paths that bounce off the frame's edges; returns what lays them on a frame."""
    balls = [ball(rng.uniform(smallest, largest), palette(rng, 3, 60, 220)[1], 0.5) for _ in range(count)]
    starts = rng.uniform(0, 1000, size=(count, 2))
    speeds = rng.normal(0, 0.25 * scene.width, size=(count, 2))

    def lay(picture: Levels, t: int) -> None:
        for (sprite, cover), start, speed in zip(balls, starts, speeds, strict=True):
            x, y = start + speed * t / float(scene.rate)
            half = cover.shape[0] / 2
            x = abs((x % (2 * scene.width)) - scene.width)
            y = abs((y % (2 * scene.height)) - scene.height)
            paste(picture, sprite, cover, x - half, y - half)

    return lay


def _floor(scene: Scene, rng: Random) -> Painter:
    """A checkered floor in perspective with glossy balls rolling about, before a plain wall."""
    dark, light = (np.array(colour, np.float32) for colour in palette(rng, 2, 50, 215))
    tiles = np.where((np.indices((256, 256)) // 32).sum(axis=0)[..., None] % 2, dark, light).astype(np.float32)
    tiles += 10 * noise(rng, 256, 256, 1.0)[..., None]
    horizon = int(scene.height * 0.35)
    depth = 4000.0 / (np.arange(scene.height - horizon)[:, None] + 18.0)
    across = (np.arange(scene.width) - scene.width / 2) * depth / 110
    wall = tint(noise(rng, 240, 480, 1.8), *palette(rng, 3, 90, 200))
    camera = _camera(scene, rng, pan=0.3)
    balls = _fleet(scene, rng, 6, 10, scene.height / 6)

    def paint(t: int) -> Levels:
        picture = view(wall, _size(scene), camera.x[t] * 0.3, 0.0, 0.7)
        picture[horizon:] = warp(tiles, across + camera.x[t], np.broadcast_to(depth * 3, across.shape) + t)
        balls(picture, t)
        return picture

    return paint


def _bricks(scene: Scene, rng: Random) -> Painter:
    """A brick wall seen at an angle by a camera that rolls and moves along."""
    y, x = np.mgrid[0:240, 0:480]
    course = y // 20
    mortar = (y % 20 < 3) | ((x + course % 2 * 20) % 40 < 3)
    shade = rng.normal(0, 22, size=(12, 13))[course, (x + course % 2 * 20) // 40 % 12]
    brick = np.array(palette(rng, 3, 60, 170)[1], np.float32) * np.array([1.2, 0.85, 0.75], np.float32)
    wall = np.where(mortar[..., None], 175.0, brick + shade[..., None]).astype(np.float32)
    wall += 12 * noise(rng, 240, 480, 0.8)[..., None]
    v, u = np.mgrid[-0.5 : 0.5 : scene.height * 1j, -0.5 : 0.5 : scene.width * 1j]
    camera = _camera(scene, rng, pan=0.2)
    slant, roll = rng.uniform(0.3, 0.7) * rng.choice([-1, 1]), rng.uniform(-0.12, 0.12)

    def paint(t: int) -> Levels:
        turn = roll * t / float(scene.rate)
        far = 1.0 / (1.0 + slant * u)
        a, b = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
        picture = warp(wall, scene.width * a * far + camera.x[t], scene.height * b * far + camera.y[t])
        picture *= (0.6 + 0.4 * far / far.max())[..., None].astype(np.float32)
        return picture

    return paint


def _night(scene: Scene, rng: Random) -> Painter:
    """A street at night: dim ground, glowing lamps, headlights driving by."""
    street = tint(noise(rng, 360, 560, 1.3), (4, 5, 10), (14, 15, 22), (30, 28, 34), (62, 55, 48))
    v, u = np.mgrid[-48:49, -48:49].astype(np.float32)
    reach = np.hypot(u, v)
    glow = np.clip(np.exp(-reach / 9) + (reach < 4) - np.exp(-48 / 9), 0, 1)[..., None].astype(np.float32)
    lamps = [
        (rng.uniform(0, 560), rng.uniform(10, 200), rng.uniform((200, 150, 60), (255, 235, 190))) for _ in range(7)
    ]
    cars = rng.uniform((0, 0.55, -0.6), (1, 0.9, 0.6), size=(4, 3)) * scene.width
    for x, y, colour in lamps:
        for wrap in (-560, 0, 560):
            paste(street, np.broadcast_to(colour, (97, 97, 3)).astype(np.float32), glow, x - 48 + wrap, y - 48)
    white = np.full((97, 97, 3), (255, 246, 220), np.float32)
    camera = _camera(scene, rng, pan=0.1, hand=1.5)

    def paint(t: int) -> Levels:
        picture = view(street, _size(scene), camera.x[t], camera.y[t] % 60, camera.zoom[t])
        for x, y, speed in cars:
            ahead = (x + speed * t / float(scene.rate)) % (scene.width + 100) - 100
            paste(picture, white, glow, ahead, y * scene.height / scene.width - 48)
        return picture

    return paint


def _crowd(scene: Scene, rng: Random) -> Painter:
    """People as heads and bodies walking both ways over a paved square."""
    square = tint(noise(rng, 360, 560, 1.1), *palette(rng, 4, 70, 215))
    square[::24, :] *= 0.7
    square[:, ::40] *= 0.75
    walkers = []
    for y in np.sort(rng.uniform(0.05, 0.75, size=26)):
        size = 4 + 9 * y
        coat, head = (
            ball(size * 1.6, palette(rng, 4, 10, 230)[int(rng.integers(4))], 0.0),
            ball(size, (205, 160, 130), 0.1),
        )
        walkers.append((coat, head, y * scene.height, rng.uniform(0, 900), rng.normal(0, 0.18) * scene.width, size))
    camera = _camera(scene, rng, pan=0.06)

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        picture = view(square, _size(scene), camera.x[t], camera.y[t])
        for coat, head, y, start, speed, size in walkers:
            x = (start + speed * time_s - camera.x[t]) % (scene.width + 80) - 60
            bob = y + 0.15 * size * np.sin(9 * time_s + start) - camera.y[t] + camera.y[0]
            paste(picture, *coat, x - 0.7 * size, bob + 1.2 * size)
            paste(picture, *head, x, bob)
        return picture

    return paint


def _smoke(scene: Scene, rng: Random) -> Painter:
    """Smoke or flames, two 1/f textures moved through each other, behind a heap of stones."""
    thick, thin = noise(rng, 384, 512, 1.6), noise(rng, 320, 448, 1.1)
    colours = palette(rng, 3, 25, 120) + [(235, 150, 60), (250, 225, 160)][: int(rng.integers(3))]
    ramp = tint(np.linspace(-2, 2, 1024, dtype=np.float32), *colours, (225, 225, 230))
    stones = np.zeros((scene.height, 640, 4), np.float32)
    stones[..., :3] = tint(noise(rng, scene.height, 640, 1.0), *palette(rng, 4, 15, 160))
    strew(rng, stones[..., :3], 500, 5, 40)
    crest = scene.height * 0.62 + 0.1 * scene.height * noise(rng, 1, 640, 1.2)
    stones[..., 3] = np.clip(np.arange(scene.height)[:, None] - crest + 0.5, 0, 1)
    camera = _camera(scene, rng, pan=0.1)
    rise = rng.uniform(0.15, 0.5) * scene.height / float(scene.rate)

    def paint(t: int) -> Levels:
        slow = view(thick, _size(scene), camera.x[t], rise * t, 0.8)
        fast = view(thin, _size(scene), -camera.x[t], 1.7 * rise * t)
        heat = np.clip((slow + 0.45 * fast + 2) * 256, 0, 1023).astype(np.int16)
        picture = np.asarray(ramp.take(heat, axis=0), np.float32)
        heap = view(stones, _size(scene), camera.x[t], 0.0)
        picture += heap[..., 3:] * (heap[..., :3] - picture)
        return picture

    return paint


def _talker(scene: Scene, rng: Random) -> Painter:
    """A head and shoulders that nod, sharp before a background far out of focus."""
    backdrop = tint(noise(rng, 300, 480, 2.1), *palette(rng, 4, 40, 210))
    for _ in range(14):
        spot, cover = ball(rng.uniform(10, 34), palette(rng, 3, 120, 250)[2], 0.0)
        paste(backdrop, spot, cover * np.float32(0.5), rng.uniform(0, 440), rng.uniform(0, 260))
    size = scene.height * rng.uniform(0.2, 0.27)
    head, body = (
        ball(size, (214, 164, 132), 0.08),
        ball(size * 1.9, palette(rng, 4, 20, 220)[int(rng.integers(4))], 0.0),
    )
    for sprite, exponent, depth in ((head[0], 0.7, 5), (body[0], 0.3, 16)):
        sprite += depth * noise(rng, sprite.shape[0], sprite.shape[1], exponent)[..., None]
    eye = ball(size / 9, (30, 22, 20), 0.9)
    camera = _camera(scene, rng, pan=0.04, hand=2.5)
    nod = rng.uniform(0.02, 0.06) * scene.height

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        picture = view(backdrop, _size(scene), camera.x[t], camera.y[t])
        x = scene.width / 2 - size + nod * np.sin(2.1 * time_s)
        y = scene.height * 0.45 - size + 0.6 * nod * np.sin(3.7 * time_s)
        paste(picture, *body, x - size * 0.9, y + size * 1.7)
        paste(picture, *head, x, y)
        for side in (0.55, 1.3):
            paste(picture, *eye, x + side * size, y + 0.75 * size)
        return picture

    return paint


def _screen(scene: Scene, rng: Random) -> Painter:
    """A recorded screen: a page that scrolls beside a still panel, a photo and a moving pointer."""
    page = lines_of_text(rng, 480, 640, 35, 245)
    photo = tint(noise(rng, 90, 140, 1.4), *palette(rng, 5))
    page[150:240, 60:200], page[340:430, 260:400] = photo, photo[::-1]
    panel = lines_of_text(rng, scene.height, scene.width // 4, 215, 48, 18)
    pointer = ball(6, palette(rng, 3)[1], 0.9)
    scroll = rng.uniform(20, 90) / float(scene.rate)

    def paint(t: int) -> Levels:
        picture = view(page, _size(scene), 0.0, np.floor(scroll * t))
        picture[:, : scene.width // 4] = panel
        paste(
            picture,
            *pointer,
            scene.width * (0.6 + 0.25 * np.sin(t / 17)),
            scene.height * (0.5 + 0.3 * np.cos(t / 23)),
        )
        return picture

    return paint


KINDS: dict[str, Callable[[Scene, Random], Painter]] = {
    "leaves": _leaves,
    "city": _city,
    "water": _water,
    "floor": _floor,
    "foliage": _foliage,
    "talker": _talker,
    "night": _night,
    "screen": _screen,
    "mountains": _mountains,
    "bricks": _bricks,
    "film": _film,
    "crowd": _crowd,
    "smoke": _smoke,
}
"""Scene kinds: name -> the function that draws its textures from a generator and returns its painter."""
