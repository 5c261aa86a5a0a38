"""Artefacts on made pictures: each is found where it was put, in the amount that was put there, and nowhere else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ugcvqa.pixels.artefacts import (
    RULES,
    SPATIAL,
    banding,
    blocking,
    blur,
    measured,
    noise,
    overexposure,
    shape_of,
    underexposure,
    uneven,
)

HEIGHT, WIDTH = 216, 384


@pytest.fixture(scope="module")
def texture():
    """(216, 384) uint8, a field of amplitude f^-1.5 with faint grain: what none of the measures takes for damage."""
    rng = np.random.default_rng(1)
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH)[None]
    spectrum = np.fft.fft2(rng.normal(size=(HEIGHT, WIDTH))) / np.maximum(np.hypot(y, x), 1 / WIDTH) ** 1.5
    field = np.fft.ifft2(spectrum).real
    levels = 118 + 30 * field / field.std() + rng.normal(0, 0.7, field.shape)
    return np.clip(np.rint(levels), 20, 225).astype(np.uint8)


@pytest.fixture(scope="module")
def moving(texture):
    """(25, 216, 384): the field moves by three pixels a frame."""
    return np.stack([np.roll(texture, 3 * k, 1) for k in range(25)])


def found(picture, stretch, rate=25.0):
    look = measured(picture, stretch, rate)
    return {name for name, value in zip(RULES, look.values, strict=True) if RULES[name].strength(value)}, look


def test_nothing_is_found_in_what_is_undistorted(texture, moving):
    names, look = found(texture, moving)
    assert names == set()
    assert look.cadence == (0, 0)
    assert not look.is_still


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 5)])
def test_block_edges_are_counted_where_they_are(texture, top, left):
    """A pattern of 2 levels on the blocks of a flat half: 1 of 8 columns and rows there is an isolated step."""
    picture = np.full((HEIGHT, WIDTH), 120, np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture += (3 * ((y + top) // 8 + (x + left) // 8) % 2 * (x < WIDTH // 2)).astype(np.uint8) * 3
    value, cells = blocking(picture)
    columns = np.abs(np.diff(picture.astype(int), axis=1)) > 0
    assert value == pytest.approx(columns[:, 7 - left :: 8].mean(), abs=0.02)  # a half of the lines of the grid
    assert value > RULES["blocking"].strong
    assert cells[:, :7].min() > 0.5
    assert np.abs(cells[:, 9:]).max() < 0.05


def test_steps_of_one_level_and_edges_of_things_are_no_blocks():
    for step in (1, 24):
        picture = np.full((HEIGHT, WIDTH), 100, np.uint8)
        picture[:, np.arange(WIDTH) // 8 % 2 == 1] += step
        assert blocking(picture)[0] == 0
    picture[:, np.arange(WIDTH) // 8 % 2 == 1] = 123
    assert blocking(picture)[0] == pytest.approx(0.5, abs=0.02)  # columns only


def test_steps_of_two_levels_are_visible():
    picture = np.full((HEIGHT, WIDTH), 100, np.uint8)
    picture[:, np.arange(WIDTH) // 8 % 2 == 1] += 2
    assert blocking(picture)[0] == pytest.approx(0.5, abs=0.02)


def test_enlarged_pixels_are_no_blocks(texture):
    small = texture[::4, ::4]
    assert blocking(small.repeat(4, axis=0).repeat(4, axis=1))[0] < RULES["blocking"].slight


@pytest.mark.parametrize("sigma", [2, 4, 9, 20])
def test_noise_is_measured_in_levels(sigma):
    rng = np.random.default_rng(sigma)
    picture = np.clip(np.rint(120 + rng.normal(0, sigma, (HEIGHT, WIDTH))), 0, 255).astype(np.uint8)
    # of 300 blocks the lowest tenth lies some percent below the mean
    assert noise(picture)[0] == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.12)


def test_noise_is_that_of_the_flattest_tenth_of_the_blocks(texture):
    luma = texture.astype(float)
    response = np.zeros((HEIGHT - 2, WIDTH - 2))
    for (y, x), weight in np.ndenumerate(np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])):
        response += weight * luma[y : HEIGHT - 2 + y, x : WIDTH - 2 + x]
    corners = [(top, left) for top in range(0, HEIGHT - 17, 16) for left in range(0, WIDTH - 17, 16)]
    blocks = [(luma[y + 1 : y + 17, x + 1 : x + 17], response[y : y + 16, x : x + 16]) for y, x in corners]
    found = [np.abs(part).mean() * np.sqrt(np.pi / 2) / 6 for block, part in blocks if 30 < block.mean() < 225]
    assert noise(texture)[0] == pytest.approx(np.percentile(found, 10), rel=1e-4)


def test_noise_is_found_in_its_half_and_not_in_white_or_black(texture):
    rng = np.random.default_rng(0)
    picture = texture.astype(float)
    picture[:, WIDTH // 2 :] += rng.normal(0, 15, (HEIGHT, WIDTH // 2))
    _, cells = noise(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    assert cells[:, 9:].min() > 3 * np.median(cells[:, :7])
    for level in (24, 231):
        assert noise(np.clip(level + rng.normal(0, 9, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8))[0] == 0


@pytest.mark.parametrize(("sigma", "least"), [(1.5, "slight"), (3, "strong")])
def test_blur_is_found_and_its_place(texture, sigma, least):
    soft = np.rint(gaussian_filter(texture.astype(float), sigma)).astype(np.uint8)
    assert blur(soft)[0] >= getattr(RULES["blur"], least)
    half = texture.copy()
    half[:, WIDTH // 2 :] = soft[:, WIDTH // 2 :]
    value, cells = blur(half)
    assert value < RULES["blur"].slight  # somewhere the picture is sharp
    assert cells[:, 9:].mean() > cells[:, :7].mean() + 0.3
    noisy = half + np.random.default_rng(0).normal(0, 6, half.shape)
    _, cells = blur(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    assert cells[:, 9:].mean() > cells[:, :7].mean() + 0.2


def contours(row, phase):
    """Counts in a row, one by one, where plateaus of six pixels have a step of 3 to 24 levels between them."""
    count = 0
    for k in range(len(row) - 13):
        before, after = row[k : k + 6], row[k + 8 : k + 14]
        is_flat = len(set(before)) == len(set(after)) == 1
        on_grid = any((k + 5 + j) % 8 == phase for j in range(3))
        count += is_flat and 3 <= abs(int(after[0]) - int(before[0])) <= 24 and not on_grid
    return count


def test_bands_are_counted(moving, texture):
    picture = texture.copy()
    picture[:, :190] = 100 + 4 * np.minimum(np.arange(190) // 15, 9)
    phase = 14 % 8  # of nine steps, those behind columns 14 and 134 share a phase
    value, cells = banding(picture)
    share = np.mean([contours(row, phase) for row in picture.tolist()]) / (WIDTH - 13)
    assert value == pytest.approx(share / 2, rel=0.02)  # there are none in the other direction
    assert cells[:, 1:5].min() > 0
    assert cells[:, 9:].max() < 0.01
    names, look = found(picture, moving)
    assert names == {"banding"}
    assert look.maps[SPATIAL.index("banding")].max() == 1


def test_bands_of_all_widths_are_counted_as_one_by_one():
    rng = np.random.default_rng(3)
    widths = rng.integers(6, 13, 80)
    levels = np.cumsum(rng.choice((-4, 3, 5), 80)) + 120
    row = np.repeat(levels, widths)[:WIDTH].astype(np.uint8)
    steps = np.flatnonzero(np.diff(row.astype(int)))
    steps = steps[(steps > 0) & (steps <= WIDTH // 8 * 8 - 8)]
    phase = np.bincount(steps % 8).argmax()
    expected = contours(row.tolist(), phase) / (WIDTH - 13) / 2
    assert expected > 0.005
    assert banding(np.tile(row, (HEIGHT, 1)))[0] == pytest.approx(expected)


@pytest.mark.parametrize("step", [2, 25])
def test_steps_that_nobody_sees_and_edges_are_no_bands(step):
    picture = np.tile(np.uint8(60) + (step * (np.arange(WIDTH) // 60)).astype(np.uint8), (HEIGHT, 1))
    assert banding(picture)[0] == 0


def test_exposure_is_measured(texture, moving):
    picture = texture.copy()
    picture[: HEIGHT // 4] = 234
    value, cells = overexposure(picture)
    assert value == pytest.approx(1 / 4, abs=0.005)
    assert cells[0].min() == 1
    assert cells[-1].max() < 0.01
    assert found(picture, moving)[0] == {"overexposure"}
    dark = (16 + (texture - 16.0) * 0.35).astype(np.uint8)
    assert underexposure(dark)[0] == pytest.approx(1 - (np.percentile(dark, 98) - 16) / 219)
    assert found(dark, moving)[0] == {"underexposure"}


def test_maps_are_of_the_whole_picture_and_empty_under_bars(texture):
    picture = texture.copy()
    picture[72:96] = 235
    picture[:48], picture[-48:] = 16, 16
    look = measured(picture, picture[None], 25.0)
    cells = look.maps[SPATIAL.index("overexposure")]
    assert cells.shape == shape_of(HEIGHT, WIDTH) == (9, 16)
    assert not cells[0].any()
    assert not cells[-1].any()
    assert cells[3].min() == 1
    assert cells[[2, 4]].max() < 0.01


def is_new(text):
    return np.array([letter == "N" for letter in text])


@pytest.mark.parametrize(
    ("pattern", "rate", "expected"),
    [
        ("NNNNNNNNNNNNNNNNNNNNNNNN", 24, (0, 0, (0, 0))),
        ("NNNNNNrrrrrrNNNNNNNNNNNN", 24, (0.25, 0, (0, 0))),
        ("NNNNNNrrrrrrNNrNNNNrNNNN", 24, (0.25, 2 / 17, (0, 0))),
        ("NrNrNrNrNrNrNrNrNrNrNrNr", 24, (0, 12 / 23, (2, 1))),
        ("NrrNrNrrNrNrrNrNrrNrNrrN", 60, (0, 14 / 23, (5, 2))),
        ("NNNNrNNNNrNNNNrNNNNrNNNN", 30, (0, 4 / 23, (5, 4))),
        ("NNrNNNNNNrrNNNNNrNNNNNNN", 30, (2 / 30, 4 / 23, (0, 0))),
    ],
)
def test_repeats_are_told_apart(pattern, rate, expected):
    held, share, cadence = uneven(is_new(pattern), rate)
    assert (held, share) == pytest.approx(expected[:2])
    assert cadence == expected[2]


def test_one_missed_repeat_does_not_break_a_cadence():
    assert uneven(is_new("NNNNrNNNNrNNNNNNNNNrNNNN"), 30)[2] == (0, 0)  # a second of 24 frames with 4 marks is too few
    assert uneven(is_new("NrNrNrNrNrNrNrNrNrNNNrNrNrNrNrNrNrNrNrNrNrNrNrNr"), 60)[2] == (2, 1)


def test_still_and_small_pictures(texture):
    still = np.repeat(texture[None], 25, axis=0)
    assert measured(texture, still, 25.0).is_still
    small = measured(texture[:24, :24], still[:, :24, :24], 25.0)
    assert small.maps.shape == (6, 16, 16)
    assert not small.values[:6].any()


def test_limits_are_those_whose_rates_are_on_the_card():
    """Who changes one runs `tools/artefacts.py` and writes its tables anew."""
    assert {name: tuple(rule) for name, rule in RULES.items()} == {
        "blocking": (0.025, 0.08, 0.2),
        "noise": (2.7, 5.0, 9.0),
        "blur": (0.53, 0.68, 0.77),
        "banding": (0.0003, 0.002, 0.004),
        "overexposure": (0.05, 0.15, 0.4),
        "underexposure": (0.55, 0.65, 0.73),
        "freezing": (0.2, 0.5, 1.0),
        "judder": (0.15, 0.3, 0.6),
    }


def test_strengths_follow_the_limits():
    for rule in RULES.values():
        assert rule.slight < rule.clear < rule.strong
        words = [rule.strength(value) for value in (rule.slight - 1e-6, rule.slight, rule.clear, rule.strong)]
        assert words == ["", "slight", "clear", "strong"]
