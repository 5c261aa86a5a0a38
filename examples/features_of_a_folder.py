"""Features of all videos below a folder, into one file.

    python examples/features_of_a_folder.py VIDEOS FEATURES.npz

The file has `ids` (N) and `video` (N, D); videos that failed are listed with their reasons.
"""

import argparse

import numpy as np
from lightning.pytorch import Trainer

from ugcvqa.datamodules import VideoDataModule
from ugcvqa.models import NSSExtractor, VSFACNNExtractor


def main() -> None:
    """Computes and writes the features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos")
    parser.add_argument("output")
    parser.add_argument("--backbone", help="a network in place of NSS, such as resnet50 or efficientnet_lite0")
    parser.add_argument("--weights", default="IMAGENET1K_V1")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    arguments = parser.parse_args()

    data = VideoDataModule(arguments.videos, num_workers=arguments.workers)
    if arguments.backbone:
        extractor = VSFACNNExtractor(arguments.backbone, arguments.weights, keep_frames=False)
    else:
        extractor = NSSExtractor()  # needs no weights
    found = Trainer(logger=False).predict(extractor, data)
    good = sorted((video for video in found if not video.reason), key=lambda video: video.video_id)
    if not good:
        raise SystemExit("no video has features")
    vectors = np.stack([video.video.numpy() for video in good])
    np.savez(arguments.output, ids=np.array([video.video_id for video in good]), video=vectors)
    print(f"{len(good)} of {len(found)} videos, {vectors.shape[1]} features each, in {arguments.output}")
    for video in found:
        if video.reason:
            print(f"{video.video_id}: {video.reason}")


if __name__ == "__main__":
    main()
