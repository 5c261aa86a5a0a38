"""Trains an end-to-end model on own videos.

    python examples/train_on_own_videos.py VIDEOS LABELS.csv

Keeps the epoch with the best validation SRCC as best.ckpt, tests it on held-out videos, and prints their predictions.
"""

import argparse

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ugcvqa.datamodules import VideoDataModule
from ugcvqa.models import EndToEndRegressor


def main() -> None:
    """Trains, tests and predicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos")
    parser.add_argument("labels")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="IMAGENET1K_V1")
    parser.add_argument("--frames", type=int, default=8, help="frames of each video")
    parser.add_argument(
        "--short_side", type=int, default=256, help="of the resized frames, in pixels; 0 keeps the size"
    )
    parser.add_argument("--crop", type=int, default=224, help="side of the square crop, in pixels")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="end_to_end")
    arguments = parser.parse_args()

    data = VideoDataModule(
        arguments.videos, arguments.labels, batch_size=arguments.batch_size, num_workers=arguments.workers
    )
    clip = {"frames": arguments.frames, "short_side": arguments.short_side, "crop": arguments.crop}
    regressor = EndToEndRegressor(arguments.backbone, arguments.weights, clip=clip, recipe={"ema": 0.0})
    best = ModelCheckpoint(arguments.out, "best", monitor="val/srcc", mode="max", enable_version_counter=False)
    trainer = Trainer(max_epochs=arguments.epochs, callbacks=[best], logger=False, log_every_n_steps=1)
    trainer.fit(regressor, data)

    regressor = EndToEndRegressor.load_from_checkpoint(best.best_model_path, weights_only=True)
    trainer.test(regressor, data)
    for video in trainer.predict(regressor, data):
        print(f"{video.video_id} predicted {video.pred:.2f}, label {video.mos:.2f}")


if __name__ == "__main__":
    main()
