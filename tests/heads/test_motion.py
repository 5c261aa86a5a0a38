import numpy as np

from ugcvqa.heads.motion import lost_motion


def test_lost_motion_is_two_mos_by_the_published_curve():
    """Ou, Ma, Liu and Wang (2011), equation 3, with their constant 7.38 and a full rate of 30."""
    rates = np.array([0.0, 5.0, 10.0, 15.0, 29.97, 30.0, 60.0, np.nan])
    full = 1 - np.exp(-7.38)
    expected = [2.0, *(2 - 2 * (1 - np.exp(-7.38 * rate / 30)) / full for rate in rates[1:5]), 0.0, 0.0, 0.0]
    np.testing.assert_allclose(lost_motion(rates), expected, atol=1e-12)
    np.testing.assert_allclose(lost_motion(rates[1:4]), [0.58, 0.17, 0.05], atol=0.005)
