"""Man-made scenes, and people in them: streets, walls, floors, a screen, a crowd, a talker."""

import numpy as np

from ugcvqa.demo.paint import Levels, Random, ball, lines_of_text, noise, palette, paste, sky, tint, view, warp
from ugcvqa.demo.scene import Painter, Scene, camera_path, fleet


def city(scene: Scene, rng: Random) -> Painter:
    """Two rows of buildings with lit windows under a sky; nearer things pass faster."""
    skyline = sky(rng, scene.height, 640)
    rows = [_houses(scene, rng, pitch, top) for pitch, top in ((9, 0.25), (14, 0.5))]
    camera = camera_path(scene, rng, pan=0.25, hand=0.8)

    def paint(t: int) -> Levels:
        picture = view(skyline, scene.size, camera.x[t] * 0.15, 0.0)
        for row, depth in zip(rows, (0.5, 1.0), strict=True):
            layer = view(row, scene.size, camera.x[t] * depth, 0.0)
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


def floor(scene: Scene, rng: Random) -> Painter:
    """A checkered floor in perspective with glossy balls rolling about, before a plain wall."""
    dark, light = (np.array(colour, np.float32) for colour in palette(rng, 2, 50, 215))
    tiles = np.where((np.indices((256, 256)) // 32).sum(axis=0)[..., None] % 2, dark, light).astype(np.float32)
    tiles += 10 * noise(rng, 256, 256, 1.0)[..., None]
    horizon = int(scene.height * 0.35)
    depth = 4000.0 / (np.arange(scene.height - horizon)[:, None] + 18.0)
    across = (np.arange(scene.width) - scene.width / 2) * depth / 110
    wall = tint(noise(rng, 240, 480, 1.8), *palette(rng, 3, 90, 200))
    camera = camera_path(scene, rng, pan=0.3)
    balls = fleet(scene, rng, 6, 10, scene.height / 6)

    def paint(t: int) -> Levels:
        picture = view(wall, scene.size, camera.x[t] * 0.3, 0.0, 0.7)
        picture[horizon:] = warp(tiles, across + camera.x[t], np.broadcast_to(depth * 3, across.shape) + t)
        balls(picture, t)
        return picture

    return paint


def bricks(scene: Scene, rng: Random) -> Painter:
    """A brick wall seen at an angle by a camera that rolls and moves along."""
    y, x = np.mgrid[0:240, 0:480]
    course = y // 20
    mortar = (y % 20 < 3) | ((x + course % 2 * 20) % 40 < 3)
    shade = rng.normal(0, 22, size=(12, 13))[course, (x + course % 2 * 20) // 40 % 12]
    brick = np.array(palette(rng, 3, 60, 170)[1], np.float32) * np.array([1.2, 0.85, 0.75], np.float32)
    wall = np.where(mortar[..., None], 175.0, brick + shade[..., None]).astype(np.float32)
    wall += 12 * noise(rng, 240, 480, 0.8)[..., None]
    v, u = np.mgrid[-0.5 : 0.5 : scene.height * 1j, -0.5 : 0.5 : scene.width * 1j]
    camera = camera_path(scene, rng, pan=0.2)
    slant, roll = rng.uniform(0.3, 0.7) * rng.choice([-1, 1]), rng.uniform(-0.12, 0.12)

    def paint(t: int) -> Levels:
        turn = roll * t / float(scene.rate)
        far = 1.0 / (1.0 + slant * u)
        a, b = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
        picture = warp(wall, scene.width * a * far + camera.x[t], scene.height * b * far + camera.y[t])
        picture *= (0.6 + 0.4 * far / far.max())[..., None].astype(np.float32)
        return picture

    return paint


def night(scene: Scene, rng: Random) -> Painter:
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
    camera = camera_path(scene, rng, pan=0.1, hand=1.5)

    def paint(t: int) -> Levels:
        picture = view(street, scene.size, camera.x[t], camera.y[t] % 60, camera.zoom[t])
        for x, y, speed in cars:
            ahead = (x + speed * t / float(scene.rate)) % (scene.width + 100) - 100
            paste(picture, white, glow, ahead, y * scene.height / scene.width - 48)
        return picture

    return paint


def crowd(scene: Scene, rng: Random) -> Painter:
    """People as heads and bodies walking both ways over a paved square."""
    square = tint(noise(rng, 360, 560, 1.1), *palette(rng, 4, 70, 215))
    square[::24, :] *= 0.7
    square[:, ::40] *= 0.75
    walkers = []
    for y in np.sort(rng.uniform(0.05, 0.75, size=26)):
        size = 4 + 9 * y
        coat = ball(size * 1.6, palette(rng, 4, 10, 230)[int(rng.integers(4))], 0.0)
        head = ball(size, (205, 160, 130), 0.1)
        walkers.append((coat, head, y * scene.height, rng.uniform(0, 900), rng.normal(0, 0.18) * scene.width, size))
    camera = camera_path(scene, rng, pan=0.06)

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        picture = view(square, scene.size, camera.x[t], camera.y[t])
        for coat, head, y, start, speed, size in walkers:
            x = (start + speed * time_s - camera.x[t]) % (scene.width + 80) - 60
            bob = y + 0.15 * size * np.sin(9 * time_s + start) - camera.y[t] + camera.y[0]
            paste(picture, *coat, x - 0.7 * size, bob + 1.2 * size)
            paste(picture, *head, x, bob)
        return picture

    return paint


def talker(scene: Scene, rng: Random) -> Painter:
    """A head and shoulders that nod, sharp before a background far out of focus."""
    backdrop = tint(noise(rng, 300, 480, 2.1), *palette(rng, 4, 40, 210))
    for _ in range(14):
        spot, cover = ball(rng.uniform(10, 34), palette(rng, 3, 120, 250)[2], 0.0)
        paste(backdrop, spot, cover * np.float32(0.5), rng.uniform(0, 440), rng.uniform(0, 260))
    size = scene.height * rng.uniform(0.2, 0.27)
    head = ball(size, (214, 164, 132), 0.08)
    body = ball(size * 1.9, palette(rng, 4, 20, 220)[int(rng.integers(4))], 0.0)
    for sprite, exponent, depth in ((head[0], 0.7, 5), (body[0], 0.3, 16)):
        sprite += depth * noise(rng, sprite.shape[0], sprite.shape[1], exponent)[..., None]
    eye = ball(size / 9, (30, 22, 20), 0.9)
    camera = camera_path(scene, rng, pan=0.04, hand=2.5)
    nod = rng.uniform(0.02, 0.06) * scene.height

    def paint(t: int) -> Levels:
        time_s = t / float(scene.rate)
        picture = view(backdrop, scene.size, camera.x[t], camera.y[t])
        x = scene.width / 2 - size + nod * np.sin(2.1 * time_s)
        y = scene.height * 0.45 - size + 0.6 * nod * np.sin(3.7 * time_s)
        paste(picture, *body, x - size * 0.9, y + size * 1.7)
        paste(picture, *head, x, y)
        for side in (0.55, 1.3):
            paste(picture, *eye, x + side * size, y + 0.75 * size)
        return picture

    return paint


def screen(scene: Scene, rng: Random) -> Painter:
    """A recorded screen: a page that scrolls beside a still panel, a photo and a moving pointer."""
    page = lines_of_text(rng, 480, 640, 35, 245)
    photo = tint(noise(rng, 90, 140, 1.4), *palette(rng, 5))
    page[150:240, 60:200], page[340:430, 260:400] = photo, photo[::-1]
    panel = lines_of_text(rng, scene.height, scene.width // 4, 215, 48, 18)
    pointer = ball(6, palette(rng, 3)[1], 0.9)
    scroll = rng.uniform(20, 90) / float(scene.rate)

    def paint(t: int) -> Levels:
        picture = view(page, scene.size, 0.0, np.floor(scroll * t))
        picture[:, : scene.width // 4] = panel
        x, y = scene.width * (0.6 + 0.25 * np.sin(t / 17)), scene.height * (0.5 + 0.3 * np.cos(t / 23))
        paste(picture, *pointer, x, y)
        return picture

    return paint
