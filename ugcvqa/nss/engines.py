"""The engines that compute the NSS features, and which of them this machine has."""

import logging
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from ugcvqa.errors import ConfigError
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX
from ugcvqa.settings.features import NSSEngine

COLOURS = ("bt601", "rapique")
ENGINES = ("torch", "compiled")
PRECISIONS = ("float32", "float64")

log = logging.getLogger(__name__)


def check_settings(colour: str, precision: str, min_side: int, engine: str) -> None:
    """Checks the settings of the NSS features, see `features.NSS`.

    Raises:
        ConfigError: if one cannot be used.
    """
    if colour not in COLOURS:
        raise ConfigError(f"NSS colour must be one of {', '.join(COLOURS)}, got {colour!r}")
    if precision not in PRECISIONS:
        raise ConfigError(f"NSS precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if isinstance(min_side, bool) or not isinstance(min_side, int) or min_side < SMALLEST_SIDE_PX:
        raise ConfigError(f"NSS min_side must be an integer of at least {SMALLEST_SIDE_PX}, got {min_side!r}")
    if engine not in ENGINES or (engine == "compiled" and precision != "float32"):
        raise ConfigError(
            f"NSS engine must be one of {', '.join(ENGINES)}, compiled with precision float32, got {engine!r} with "
            f"{precision}"
        )


def compiled_kernels() -> ModuleType:
    """The compiled kernels.

    Raises:
        ConfigError: if Numba is not here.
    """
    try:
        from ugcvqa.nss import compiled
    except ImportError as error:
        raise ConfigError(
            f"the NSS engine compiled needs Numba ({error}); install it or choose the engine torch"
        ) from error
    return compiled


def usable_engine(engine: NSSEngine, precision: str = "float32") -> NSSEngine:
    """Decides for one engine.

    Args:
        engine: the requested one; `auto` is compiled, but torch for float64. A GPU does not matter: cores compute NSS.
        precision: see `features.NSS`.

    Returns:
        "torch" or "compiled"; the other one, with a warning, where the library of the first is missing.
    """
    if engine == "auto":
        engine = "compiled" if precision == "float32" else "torch"
    return _installed(engine)


@cache
def _installed(engine: NSSEngine) -> NSSEngine:
    if engine == "torch" and find_spec("torch") is None and find_spec("numba") is not None:
        log.warning("PyTorch is not installed: NSS features are computed by compiled kernels, equal to rounding")
        return "compiled"
    if engine == "compiled":
        try:
            compiled_kernels()
        except ConfigError as error:
            log.warning("%s; NSS features are computed by torch, which takes several times longer", error)
            return "torch"
    return engine
