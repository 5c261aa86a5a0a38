"""Makes the table of pairs of known order, from which `sparse_gp` heads learn that damage never helps.

    python tools/make_pairs.py OUTPUT.npz PHOTO...

Each photograph becomes two clips, which are worn and damaged in some 170 ways, measured and forgotten; no picture is in
the table. It is for row NSS_PIXELS. A photograph takes half a processor minute; numbers follow the order of files.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ugcvqa.cli import exit_code_of
from ugcvqa.demo.known_orders import LINES, Order, line_orders, orders, sights
from ugcvqa.heads.pairs import Pairs, write_pairs
from ugcvqa.nss.features import NSS
from ugcvqa.pixels.spectrum import band_powers, native_share
from ugcvqa.progress import progress_bar

_LONGEST_PX = 2600  # of the JPEG that is decoded: more is shrunk anyway
_MOVING = 30.0  # frames per second, of clips that lose none

Array = npt.NDArray[np.float64]


def vector(frames: npt.NDArray[np.uint8], network: NSS) -> Array:
    """The columns (1838,) of row NSS_PIXELS of ten frames, see `known_orders.USED_FRAMES`."""
    y, u, v = (torch.from_numpy(planes) for planes in _planes(frames))
    features = network(y, u, v).numpy()
    share = native_share(np.mean([band_powers(luma) for luma in y[:2].numpy()], axis=0))
    return np.array([*features, _MOVING, min(frames.shape[1:3]) * share])


def _planes(frames: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
    """Planes as a decoder gives them: luma of all frames, chroma of the first two."""
    height, width = frames.shape[1:3]
    coded = [
        av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p").to_ndarray() for frame in frames
    ]
    luma = np.stack([frame[:height] for frame in coded])
    chroma = np.stack([frame[height:].reshape(2, height // 2, width // 2) for frame in coded[:2]])
    return luma, np.ascontiguousarray(chroma[:, 0]), np.ascontiguousarray(chroma[:, 1])


def _measured(photos: Sequence[Path], workers: int) -> Iterator[tuple[str, Array]]:
    processes = multiprocessing.get_context("spawn")
    with progress_bar(len(photos), "photo", "pairs") as bar, ProcessPoolExecutor(workers, processes) as pool:
        for found in pool.map(_measured_one, range(len(photos)), photos):
            yield from found
            bar.update(1)


def _measured_one(number: int, path: Path) -> list[tuple[str, Array]]:
    torch.set_num_threads(1)
    network = NSS(engine="compiled")
    with Image.open(path) as image:
        image.draft("RGB", (_LONGEST_PX, _LONGEST_PX))
        photo = np.asarray(image.convert("RGB"))
    with tempfile.TemporaryDirectory() as folder:
        every = sights(photo, number, Path(folder))
        return [(video_id, vector(np.ascontiguousarray(frames), network)) for video_id, frames in every]


def pairs_table(photos: Sequence[Path], workers: int = 1) -> tuple[list[str], Pairs]:
    """Ids and pairs of all photographs."""
    rows = dict(_measured(photos, workers))
    found: list[Order] = list(orders([*rows]))
    for clip in [video_id for video_id in rows if video_id.endswith("/clip")]:
        rows |= {f"{clip}@{lines}": np.array([*rows[clip][:-1], lines]) for lines in LINES}
        found += line_orders(clip)
    place = {video_id: row for row, video_id in enumerate(rows)}
    pairs = Pairs(
        np.stack([*rows.values()]).astype(np.float32),
        np.array([place[order.better] for order in found]),
        np.array([place[order.worse] for order in found]),
        np.array([order.margin for order in found]),
        np.array([order.is_equal for order in found]),
    )
    return [*rows], pairs


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the photographs")
    arguments = parser.parse_args()
    ids, pairs = pairs_table(arguments.photos, arguments.workers)
    write_pairs(arguments.output, ids, pairs)
    sys.stdout.write(f"{arguments.output}: {len(ids)} videos, {len(pairs.better)} pairs\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "make_pairs"))
