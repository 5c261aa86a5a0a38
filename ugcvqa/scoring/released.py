"""The models that come with the package: their names, files and checksums."""

from pathlib import Path

from ugcvqa.errors import CheckpointError
from ugcvqa.files import file_sha256

DEFAULT = "nss_pixels"
"""What scores when no model is named; it needs no network weights, and no size that a file states moves it."""

SHA256 = {
    "nss_container": "6dae0e9ffa48196c738f12029e505e51c30e49f36b7716387308193677964808",
    "nss_pixels": "e6135b4406e786eb2edb5afd7d1d097f4001dc1225907cbc0f44418a9fd8187e",
}
"""Name -> SHA-256 of its file."""


def released_file(name: str) -> Path:
    """Finds the file of a released model and checks that it is whole.

    Args:
        name: a key of `SHA256`.

    Raises:
        CheckpointError: if there is no such model, or its file is missing or damaged.
    """
    if name not in SHA256:
        raise CheckpointError(f"no model {name!r} is released; there are {', '.join(SHA256)}")
    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{path}: the released model is missing; install the package again")
    found = file_sha256(path)
    if found != SHA256[name]:
        raise CheckpointError(
            f"{path}: SHA-256 {found[:12]}... is not {SHA256[name][:12]}... of the released model; the file is damaged "
            "or of another version: install the package again"
        )
    return path


def card() -> Path:
    """The card of the released models: what they were trained on, how good they are, and where they are weak."""
    return folder() / "README.md"


def folder() -> Path:
    """Where released models lie: inside an installed package, beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"
