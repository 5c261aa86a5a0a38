"""Settings of training by gradient descent: recipe, GRU head, end-to-end model, W&B."""

from dataclasses import dataclass, field
from typing import Literal

from ugcvqa.errors import ConfigError

FRAGMENTS = 7
"""Rows and columns of patches in the view `fragments`."""

PATCH_PX = 32
"""Side of such a patch, in pixels."""


@dataclass(frozen=True)
class RecipeSettings:
    """How a network is trained.

    Attributes:
        epochs: passes over the training videos.
        batch_size: videos per step, of all processes together: more devices do not change the training.
        optimiser: `adam`, or `adamw` with decoupled weight decay (none on biases and normalisations).
        lr: learning rate of the head.
        backbone_lr: learning rate of a trainable backbone.
        weight_decay: strength of the weight decay.
        schedule: `constant`; `step`, times 0.8 every tenth of the epochs; `cosine`, a warm-up and a half cosine to 0.
        warm_up: share of the steps of `cosine` in which the rate rises from 0.
        l1: weight of the mean absolute error of the loss.
        plcc: weight of its correlation part.
        rank: weight of its ranking part.
        ema: decay of the exponential moving average of the weights, which is then what counts; 0 for none.
        clip_norm: bound on the norm of the gradient; 0 for none.
        starts_at_mean: the untrained network predicts about the mean label of the training videos, which saves the
            steps it takes to get there.
        patience: epochs without a better validation SRCC after which training stops; 0 for never.
        seed: of the initial weights, the order of the videos and what is random in training samples.
    """

    epochs: int = 60
    batch_size: int = 16
    optimiser: Literal["adam", "adamw"] = "adamw"
    lr: float = 1e-3
    backbone_lr: float = 1e-4
    weight_decay: float = 0.05
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    warm_up: float = 0.05
    l1: float = 1.0
    plcc: float = 1.0
    rank: float = 0.3
    ema: float = 0.0
    clip_norm: float = 1.0
    starts_at_mean: bool = True
    patience: int = 0
    seed: int = 19920517

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recipe: {name} is {getattr(self, name)}: at least 1 is needed")
        for name in ("lr", "backbone_lr", "weight_decay", "l1", "plcc", "rank", "clip_norm", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"recipe: {name} is {getattr(self, name)}: it must be at least 0")
        for name in ("warm_up", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe: {name} is {getattr(self, name)}: it must lie in 0..1, below 1")
        if not self.l1 + self.plcc + self.rank > 0:
            raise ConfigError("recipe: l1, plcc and rank are all 0: the loss needs a part")


@dataclass(frozen=True)
class GRUSettings:
    """VSFA's GRU head on the frame features of row VSFACNN.

    Attributes:
        reduced_dim: outputs of the linear map before the GRU.
        hidden_dim: units of the GRU.
        tau: window of the temporal pooling, in frames.
        beta: weight of the present against the memory in the temporal pooling.
        precision: in which the frame features are held and go through the linear map; `bfloat16` takes half the
            memory and time, `float16` half the memory.
        recipe: how it is trained.
    """

    reduced_dim: int = 128
    hidden_dim: int = 32
    tau: int = 12
    beta: float = 0.5
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    recipe: RecipeSettings = field(default_factory=lambda: RecipeSettings(lr=1e-4))

    def __post_init__(self) -> None:
        _check_gru("gru", self)


@dataclass(frozen=True)
class ClipSettings:
    """Which pictures of a video an end-to-end model sees.

    Attributes:
        frames: number of frames per video, from as many equal stretches of time.
        phases: frames kept of each stretch; training picks one place for all stretches at random, otherwise it is
            the middle one.
        view: `crop` of the resized frame, or `fragments`: a 7 x 7 grid of 32 x 32 patches at native resolution.
        short_side: shorter side of the frames before the crop, in pixels; 0 keeps their size.
        crop: side of the square crop, random in training, otherwise central.
    """

    frames: int = 8
    phases: int = 2
    view: Literal["crop", "fragments"] = "crop"
    short_side: int = 520
    crop: int = 448

    def __post_init__(self) -> None:
        if min(self.frames, self.phases, self.crop) < 1 or self.short_side < 0:
            raise ConfigError(
                f"clip: frames {self.frames}, phases {self.phases}, crop {self.crop}, short_side {self.short_side}: "
                "the first three must be at least 1, short_side at least 0"
            )
        if 0 < self.short_side < self.crop and self.view == "crop":
            raise ConfigError(f"clip: crop {self.crop} does not fit into short_side {self.short_side}")

    @property
    def side(self) -> int:
        """Side of the square pictures that the network sees, in pixels."""
        return self.crop if self.view == "crop" else FRAGMENTS * PATCH_PX


@dataclass(frozen=True)
class EndToEndSettings:
    """A trainable backbone with VSFA's pooling and head.

    Attributes:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: its initial weights, as for the deep features; `random:SEED` trains from scratch.
        stages: stages of the backbone that are used, counted from the input (the stem of a ResNet is the first);
            0 for all. The first ones see noise, blur and blocks, the later ones what is shown.
        frozen_stages: stages of the backbone, counted from the input, that are not trained.
        checkpointing: recompute each stage in the backward pass instead of keeping its activations.
        reduced_dim: as for the GRU head.
        hidden_dim: as for the GRU head.
        tau: window of the temporal pooling, in sampled frames.
        beta: as for the GRU head.
        head_epochs: epochs in which the head alone is trained first, on features computed once; 0 for none.
        thaw_epochs: epochs in which the last stage of the backbone is then trained too, after these the last two, and
            so on; none by default. Finally all but the frozen stages are trained, for the epochs of the recipe.
        clip: which pictures it sees.
        recipe: how it is trained.
    """

    backbone: str = "resnet50"
    weights: str = "IMAGENET1K_V1"
    stages: int = 0
    frozen_stages: int = 1
    checkpointing: bool = False
    reduced_dim: int = 128
    hidden_dim: int = 32
    tau: int = 3
    beta: float = 0.5
    head_epochs: int = 30
    thaw_epochs: tuple[int, ...] = ()
    clip: ClipSettings = field(default_factory=ClipSettings)
    recipe: RecipeSettings = field(default_factory=lambda: RecipeSettings(epochs=30, ema=0.99))

    def __post_init__(self) -> None:
        _check_gru("end_to_end", self)
        if min(self.stages, self.frozen_stages, self.head_epochs) < 0:
            raise ConfigError(
                f"end_to_end: stages {self.stages}, frozen_stages {self.frozen_stages}, head_epochs "
                f"{self.head_epochs}: at least 0 each"
            )
        if self.stages and self.frozen_stages > self.stages:
            raise ConfigError(f"end_to_end: frozen_stages {self.frozen_stages} of {self.stages} stages that are used")
        if min(self.thaw_epochs, default=1) < 1:
            raise ConfigError(f"end_to_end: thaw_epochs {list(self.thaw_epochs)}: at least 1 epoch each")


def _check_gru(name: str, of: GRUSettings | EndToEndSettings) -> None:
    if min(of.reduced_dim, of.hidden_dim, of.tau) < 1 or not 0 <= of.beta <= 1:
        raise ConfigError(
            f"{name}: reduced_dim {of.reduced_dim}, hidden_dim {of.hidden_dim}, tau {of.tau}, beta {of.beta}: "
            "the first three must be at least 1, beta lies in 0..1"
        )


@dataclass(frozen=True)
class WandbSettings:
    """Where Weights & Biases keeps a run; `fit` uses it with `--logger wandb` only.

    Attributes:
        mode: `offline` writes to the folder of the results, for `wandb sync`; `online` needs an account; `disabled`
            does nothing.
        project: name of the project.
        entity: user or team; W&B's default if left out.
        group: runs of one group are shown together, such as the rows or seeds of an experiment.
        tags: words by which runs are found.
        notes: a sentence about the run.
        job_type: kind of the run within its group; the verb if left out.
        overlays: held-out videos for which a saliency map is shown, if the weights of `families.saliency` are there.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "ugcvqa"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    job_type: str | None = None
    overlays: int = 4

    def __post_init__(self) -> None:
        if self.overlays < 0:
            raise ConfigError(f"wandb.overlays is {self.overlays}: it must be at least 0")
