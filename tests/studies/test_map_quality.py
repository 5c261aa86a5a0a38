"""Map quality: curves of a classifier whose answer is known, and energy of maps with closed forms."""

import math

import pytest
import torch
from torch import nn

from ugcvqa.studies.map_quality import centre_map, map_energy, pixel_curves, shifted_map

SIDE = 28


class CornerDetector(nn.Module):
    """Sees class 1 by the brightness of the upper left quarter."""

    def forward(self, frames):
        seen = frames[:, :, : SIDE // 2, : SIDE // 2].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(seen), 8 * seen], 1)


def frame():
    image = torch.zeros(3, SIDE, SIDE)
    image[:, : SIDE // 2, : SIDE // 2] = 1
    return image


def corner(row, column):
    image = torch.zeros(SIDE, SIDE)
    image[row * SIDE // 2 :, column * SIDE // 2 :][: SIDE // 2, : SIDE // 2] = 1
    return image


def test_a_map_of_what_counts_deletes_faster_and_inserts_faster_than_one_of_what_does_not():
    right, wrong = (pixel_curves(CornerDetector(), frame(), corner(k, k), 1, 4) for k in (0, 1))
    assert right.deletion_auc < wrong.deletion_auc
    assert right.insertion_auc > wrong.insertion_auc


def test_deletion_curve_of_a_linear_detector_has_its_closed_form():
    curves = pixel_curves(CornerDetector(), frame(), corner(0, 0), 1, 8)
    present = torch.tensor([1, 0.5, 0, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
    expected = torch.sigmoid(8 * present)
    torch.testing.assert_close(curves.deletion, expected, rtol=0, atol=1e-6)
    assert curves.deletion_auc == pytest.approx(float(torch.trapezoid(expected, dx=1 / 8)), abs=1e-6)


def test_curves_begin_and_end_with_the_same_frames_in_any_order():
    found = [pixel_curves(CornerDetector(), frame(), corner(k, 0), 1, 3) for k in (0, 1)]
    assert found[0].deletion[[0, -1]].tolist() == found[1].deletion[[0, -1]].tolist()
    assert found[0].insertion[-1] == found[0].deletion[0]


def test_all_pixels_are_gone_after_any_number_of_steps():
    for steps in (1, 3, 7, 13):
        assert float(pixel_curves(CornerDetector(), frame(), corner(0, 0), 1, steps).deletion[-1]) == 0.5


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match="at least 1 step"):
        pixel_curves(CornerDetector(), frame(), corner(0, 0), 1, 0)
    with pytest.raises(ValueError, match="its map"):
        pixel_curves(CornerDetector(), frame(), torch.zeros(2, 2), 1, 2)


def test_energy_of_an_even_map():
    energy = map_energy(torch.full((1, 224, 224), 0.5))
    assert float(energy.centre) == pytest.approx(0.25)
    assert float(energy.half_area) == pytest.approx(0.5, abs=1e-4)
    assert float(energy.entropy) == pytest.approx(1)


def test_energy_of_one_pixel_and_of_no_map():
    maps = torch.zeros(2, 16, 16)
    maps[0, 8, 8] = 1
    energy = map_energy(maps)
    assert float(energy.centre[0]) == 1
    assert float(energy.half_area[0]) == pytest.approx(1 / 256)
    assert float(energy.entropy[0]) == 0
    assert all(math.isnan(float(value[1])) for value in (energy.centre, energy.half_area, energy.entropy))


def test_shifted_map_keeps_its_values_at_another_place():
    image = torch.rand(40, 60)
    moved = shifted_map(image, seed=3)
    assert torch.equal(moved.flatten().sort().values, image.flatten().sort().values)
    assert torch.equal(moved, shifted_map(image, seed=3))
    assert (moved != image).float().mean() > 0.9


def test_centre_map_falls_from_the_middle_outwards():
    image = centre_map(5, 7)
    assert float(image[2, 3]) == 1
    assert [float(image[y, x]) for y in (0, 4) for x in (0, 6)] == [0.0] * 4
