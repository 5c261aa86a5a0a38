"""Settles the precision `auto`: on a GPU the fastest arithmetic whose error is measured there and within a bound.

The first run that fills a store decides for it. Later ones, on whatever machine, keep to that, so that features which
are compared with each other are made alike. A choice that was measured is noted in the store; features without a note
are in float32.
"""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ugcvqa.devices import check_fatal
from ugcvqa.errors import StoreError, UgcvqaError
from ugcvqa.features.family import Family, as_array
from ugcvqa.files import error_reason, write_atomic
from ugcvqa.leftovers import temporary_path
from ugcvqa.settings.features import FamilySettings, Precision

log = logging.getLogger(__name__)

BOUND = 5e-3
"""Largest relative difference of a video vector from float32's that a faster arithmetic may make."""

_CANDIDATES: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")  # float16 overflows on frames nobody has measured
_GAIN = 0.9  # of the time; one that saves less is not worth its error

_USERS = {
    "deep": {"cnn", "vsfacnn", "vsfacnn_saliency", "vsfacnn_224", "stages"},
    "saliency": {"saliency", "vsfacnn_saliency"},
}
_MEASURED = {"deep": ("vsfacnn", "rgb", (540, 960)), "saliency": ("saliency", "rgb224", (224, 224))}
_SCENES = ("leaves", "talker", "night")


class Trial(NamedTuple):
    """What was measured of an arithmetic.

    Attributes:
        difference: of a video vector from float32's, relative to its length.
        seconds: that the frames took.
    """

    difference: float
    seconds: float


def open_parts(settings: FamilySettings, names: Sequence[str]) -> tuple[str, ...]:
    """Settings, `deep` and `saliency`, whose precision is still to be settled before these families are computed."""
    return tuple(
        part for part, users in _USERS.items() if getattr(settings, part).precision == "auto" and users & set(names)
    )


def settled(
    settings: FamilySettings, names: Sequence[str], store: Path | None = None, device: str | None = None
) -> FamilySettings:
    """Puts a precision in the place of each `auto` that counts for some families, and says which and why.

    Args:
        settings: of the families.
        names: the families.
        store: folder of the feature store, which keeps to what was settled first; None for none.
        device: which is about to compute; None where features are only looked up, so that nothing is measured or noted.

    Raises:
        StoreError: if the store cannot be read or written.
        WeightsError: if weights are missing or wrong.
    """
    found: dict[str, Precision] = {}
    measured: dict[str, tuple[Precision, dict[str, Any]]] = {}
    for part in open_parts(settings, names):
        known = None if store is None else _read(_note(store, part, settings)) or _kept(store, part)
        if known is not None:
            found[part] = known
            if device not in (None, "cpu"):
                log.info(
                    "%s features in %s, as in %s; --families.%s.precision asks for another", part, known, store, part
                )
        elif device not in (None, "cpu"):  # where float32 is meant
            measured[part] = _measured(settings, part, device)
    for part, (precision, told) in measured.items():  # once no weights are missing
        found[part] = precision if store is None else _noted(_note(store, part, settings), precision, told)
        log.info("%s; --families.%s.precision float32 for exact ones", told["text"], part)
    return settings.with_precisions(found)


def fastest(trials: Mapping[Any, Trial], bound: float = BOUND) -> Any:  # noqa: ANN401 (a key of the mapping)
    """The fastest arithmetic within a bound, unless a more exact one takes about as long."""
    chosen, best = "float32", trials["float32"].seconds
    for name, trial in trials.items():
        if trial.difference <= bound and trial.seconds < _GAIN * best:
            chosen, best = name, trial.seconds
    return chosen


def forget(family: Family) -> None:
    """Forgets the saliency maps that a family knows, which would not be computed again."""
    if known := getattr(family, "known", None):
        known.forget()


def timed_vector(family: Family, frames: Mapping[str, Any], rounds: int = 2) -> tuple[npt.NDArray[np.float64], float]:
    """The video vector (D,) of some frames, and the seconds that a device takes for it once it has chosen its kernels.

    Args:
        family: whose network is on the device.
        frames: form -> (T, ...) uint8 tensors there, as the family takes them.
        rounds: times that it is done, of which the last one is timed.
    """
    for _ in range(rounds):
        forget(family)
        begun = time.perf_counter()
        pool = family.pool()
        pool.add(family(frames))
        vector = as_array(pool.result()["video"])  # fetched, so that all is done
    return vector.astype(np.float64), time.perf_counter() - begun


def difference(vector: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    """Relative difference of a vector (D,) from the expected one."""
    return float(np.linalg.norm(vector - expected) / np.linalg.norm(expected))


def _measured(settings: FamilySettings, part: str, device: str) -> tuple[Precision, dict[str, Any]]:
    """The choice for a GPU, and what is to be told of it."""
    import torch

    from ugcvqa.demo.scene import Scene
    from ugcvqa.demo.scenes import render_scene
    from ugcvqa.features.network_families import build_networks

    name, form, size = _MEASURED[part]
    pictures = [render_scene(Scene(kind, 0, size[1], size[0], Fraction(30), 1))[0] for kind in _SCENES]
    frames = {form: torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)}
    trials, failed, expected = dict[Precision, Trial](), list[str](), np.empty(0)
    for precision in _CANDIDATES:
        tried = replace(settings, **{part: replace(getattr(settings, part), precision=precision)})
        try:
            vector, seconds = timed_vector(build_networks((name,), tried)[name].on(device), frames)
        except (RuntimeError, UgcvqaError) as error:
            check_fatal(error, torch.device(device))
            if precision == "float32":
                raise
            failed.append(f"; {precision} fails ({error_reason(error)})")  # this GPU lacks it, or it overflows
            continue
        expected = expected if precision != "float32" else vector
        trials[precision] = Trial(difference(vector, expected), seconds)
    chosen: Precision = fastest(trials)
    lines = "; ".join(f"{key} {one.difference:.1e} in {one.seconds:.3f} s" for key, one in trials.items())
    text = f"{part} features in {chosen}, the fastest within {BOUND:g} of float32 here: {lines}{''.join(failed)}"
    return chosen, {"text": text, "trials": {key: one._asdict() for key, one in trials.items()}, "bound": BOUND}


def _note(store: Path, part: str, settings: FamilySettings) -> Path:
    """File of a store that notes the precision of a network."""
    of = getattr(settings, part)
    return store / "precision" / f"{part}-{of.backbone}-{'-'.join(Path(of.weights).parts[-1:])}.json"


def _kept(store: Path, part: str) -> Precision | None:
    """Float32 where a store has features of such a network, whichever it is, of which nothing is noted."""
    try:
        names = [folder.name for folder in store.iterdir()] if store.is_dir() else []
    except OSError as error:
        raise StoreError(f"{store}: cannot be read ({error_reason(error)})") from error
    return "float32" if any(name.startswith(tuple(_USERS[part])) for name in names) else None


def _read(path: Path) -> Precision | None:
    try:
        found: Precision = json.loads(path.read_bytes())["precision"]
        if found not in get_args(Precision):
            raise ValueError(f"{found!r} is not a precision")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be read; delete it, and it is made again ({error_reason(error)})") from error
    return found


def _noted(path: Path, precision: Precision, told: Mapping[str, Any]) -> Precision:
    """Notes a choice, unless another process was faster; returns the one that counts."""
    mine = temporary_path(path.parent)
    write_atomic(mine, json.dumps({"precision": precision, **told}, indent=2).encode())
    try:
        with suppress(FileExistsError):
            os.link(mine, path)
    except OSError:  # a file system without links
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
    return _read(path) or precision
