"""Quality lost to jerky motion, which no feature of eight frames shows: a function of the new frames per second."""

import numpy as np
import numpy.typing as npt

_FULL_RATE = 30.0  # frames per second that lose nothing
_FALL = 7.38
_WHOLE = 2.0  # MOS between good and bad


def lost_motion(shown_rate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Computes the MOS lost at few new frames per second: 0 from 30 on, 0.05 at 15, 0.17 at 10, 0.58 at 5.

    Source: form and constant of the temporal correction factor of Ou, Ma, Liu and Wang (2011), equation 3, from
    people's ratings of videos at lowered frame rates; that it takes two MOS at most is our choice.

    Args:
        shown_rate: (N,) new frames per second; NaN counts as 30.

    Returns:
        (N,) at least 0.
    """
    known = np.where(np.isfinite(shown_rate), np.clip(shown_rate, 0, _FULL_RATE), _FULL_RATE)
    kept = (1 - np.exp(-_FALL * known / _FULL_RATE)) / (1 - np.exp(-_FALL))
    return np.asarray(_WHOLE * (1 - kept), dtype=np.float64)
