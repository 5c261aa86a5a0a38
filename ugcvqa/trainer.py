"""Lightning's Trainer with a user's arguments: some are added to ours, some refused as they would break a promise."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from ugcvqa.arguments import built_arguments, check_arguments, listed
from ugcvqa.devices import check_fatal, float32_products, start_line
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.launchers import launch
from ugcvqa.processes import error_of_process, loader_errors

log = logging.getLogger(__name__)

ADDED = ("callbacks", "logger", "plugins")
"""Arguments whose values are added to ours."""

PLACEMENT = ("accelerator", "devices", "num_nodes", "strategy")
"""Arguments that say where a Trainer runs."""

_UNTRAINABLE = ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16")
_OFF_IF_NONE = ("check_val_every_n_epoch", "gradient_clip_val")  # elsewhere null is as good as not given

_BOTH = (
    *("accelerator", "strategy", "devices", "num_nodes", "fast_dev_run", "log_every_n_steps", "enable_progress_bar"),
    *("enable_model_summary", "deterministic", "benchmark", "inference_mode", "profiler", "detect_anomaly"),
    *("default_root_dir", "enable_autolog_hparams"),
)
_OF_TRAINING = (
    *("precision", "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches"),
    *("limit_val_batches", "overfit_batches", "val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps"),
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "sync_batchnorm"),
    "reload_dataloaders_every_n_epochs",
)


@dataclass(frozen=True)
class Purpose:
    """What a Trainer is for, and so which of its arguments a user may set.

    Attributes:
        honoured: arguments that are passed on as they are.
        refused: argument -> why it cannot be used; its default, and the values of `harmless`, can.
        harmless: argument -> the value that is used in any case.
    """

    honoured: tuple[str, ...]
    refused: Mapping[str, str]
    harmless: Mapping[str, Any]

    def check(self, asked: Mapping[str, Any]) -> None:
        """Checks a user's arguments before anything slow is done.

        Raises:
            ConfigError: if one is unknown, of a wrong type, or would break what is promised.
        """
        launch().check_tasks()
        check_arguments(Trainer, "trainer", _given(asked))
        for name, value in _given(asked).items():
            if name in self.refused and not _is_same(value, self.harmless[name]):
                raise ConfigError(f"--trainer.{name} {value}: {self.refused[name]}")
            if name not in {*self.refused, *self.honoured, *ADDED}:
                raise ConfigError(f"--trainer.{name}: not known to this version of ugcvqa, leave it out")
            if name == "precision":
                _check_precision(value)


_NEVER = {
    "use_distributed_sampler": "the videos are dealt out to the processes already; leave it out",
    "barebones": "it measures Lightning itself and keeps no result; leave it out",
    "model_registry": "models are not uploaded; leave it out",
    "limit_test_batches": "no test loop runs here; leave it out",
}
_HARMLESS: dict[str, Any] = {
    **{"use_distributed_sampler": False, "barebones": False, "model_registry": None, "limit_test_batches": 1.0},
    **{"enable_checkpointing": True, "limit_predict_batches": 1.0, "precision": "32-true", "fast_dev_run": False},
    **{"max_epochs": None, "min_epochs": None, "max_steps": -1, "min_steps": None, "max_time": None},
    **{"limit_train_batches": 1.0, "limit_val_batches": 1.0, "overfit_batches": 0.0, "val_check_interval": 1.0},
    **{"check_val_every_n_epoch": 1, "num_sanity_val_steps": 0, "accumulate_grad_batches": 1},
    **{"gradient_clip_val": None, "gradient_clip_algorithm": None, "sync_batchnorm": False},
    "reload_dataloaders_every_n_epochs": 0,
}

TRAINING = Purpose(
    (*_BOTH, *_OF_TRAINING),
    {
        **_NEVER,
        "limit_predict_batches": "all videos are predicted at the end of a training; leave it out",
        "enable_checkpointing": "a training resumes from its checkpoints when it is killed; leave it out",
    },
    _HARMLESS,
)
EXTRACTION = Purpose(
    (*_BOTH, "limit_predict_batches", "enable_checkpointing"),
    {
        **_NEVER,
        **dict.fromkeys(_OF_TRAINING, "extracting features trains nothing; leave it out"),
        "precision": "stored features are float32; --families has the precision of each family",
    },
    _HARMLESS,
)
OF_VECTORS = Purpose(
    tuple(name for name in EXTRACTION.honoured if name not in ("limit_predict_batches", "fast_dev_run")),
    {
        **EXTRACTION.refused,
        **dict.fromkeys(_OF_TRAINING, "this head is fitted without epochs; leave it out, or use --head gru"),
        **dict.fromkeys(
            ("limit_predict_batches", "fast_dev_run"), "a head needs the features of all videos; leave it out"
        ),
    },
    _HARMLESS,
)
"""For heads on video vectors: the Trainer extracts what they need."""


def build_trainer(ours: Mapping[str, Any], asked: Mapping[str, Any], purpose: Purpose) -> Trainer:
    """Makes a Trainer from our arguments and a user's, which win where they are not added.

    Args:
        ours: arguments; `callbacks`, `logger` and `plugins` are lists.
        asked: arguments of the user, as in a YAML file (objects by `class_path` and `init_args`) or as objects.
        purpose: what it is for.

    Raises:
        ConfigError: if an argument cannot be used.
    """
    _hide_hints()
    here = launch()
    purpose.check(asked)
    given = built_arguments(Trainer, "trainer", _given(asked))
    callbacks = [*listed(given.pop("callbacks", [])), *ours["callbacks"]]
    wishes = {"enable_checkpointing": Checkpoint, "enable_progress_bar": ProgressBar}
    implied = {name: True for name, kind in wishes.items() if any(isinstance(one, kind) for one in callbacks)}
    logger = _joined_loggers(ours["logger"], given.pop("logger", []))
    plugins = [*ours["plugins"], *listed(given.pop("plugins", []))]
    is_placed = is_placed_by(given)
    if here.launcher == "sbatch" and not is_placed:
        plugins.append(LightningEnvironment())  # else Lightning would wait for tasks that srun would have started
    placed = {} if is_placed else here.trainer_arguments()
    arguments = {**{**ours, **implied, **placed, **given}, "callbacks": callbacks, "logger": logger, "plugins": plugins}
    try:
        trainer = Trainer(**arguments)
    except (TypeError, ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"--trainer {dict(asked)}: {_first_line(error)}") from error
    environment = trainer._accelerator_connector.cluster_environment
    here.check(trainer.num_devices * trainer.num_nodes, environment.creates_processes_externally)
    _check_precision(trainer.precision)
    if purpose is not TRAINING and trainer.precision != "32-true":
        raise ConfigError(f"--trainer {dict(asked)}: {EXTRACTION.refused['precision']}")
    if purpose is TRAINING and isinstance(trainer.strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
        raise ConfigError("--trainer.strategy: one that shards weights cannot keep our checkpoints; use ddp")
    return trainer


def _hide_hints() -> None:
    """Hides hints of Lightning and PyTorch, which are about other uses: what matters here is said by us."""
    for name in ("lightning.pytorch", "lightning.fabric", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def is_placed_by(asked: Mapping[str, Any]) -> bool:
    """Whether a user's arguments say how many processes there are."""
    return any(asked.get(name) is not None for name in PLACEMENT[1:])


def placed(asked: Mapping[str, Any]) -> Trainer:
    """A Trainer with a user's arguments that never runs: it settles this process's device before another one does."""
    placement = {name: value for name, value in asked.items() if name in PLACEMENT and value is not None}
    nothing: dict[str, Any] = {"callbacks": [], "logger": [], "plugins": []}
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return build_trainer({**default_devices(), **nothing, **quiet}, placement, TRAINING)


def root_device(asked: Mapping[str, Any]) -> torch.device:
    """The device of this process by a user's arguments of the Trainer, also for work outside of a Trainer."""
    device: torch.device = placed(asked).strategy.root_device
    return device


def default_devices() -> dict[str, Any]:
    """All GPUs if there are any, else one CPU process; MPS has no float64 and is never taken."""
    if torch.cuda.is_available():
        return {"accelerator": "cuda", "devices": "auto"}
    return {"accelerator": "cpu", "devices": 1}


def tell_place(trainer: Trainer, verb: str, decoders: int) -> None:
    """Logs, in the first process, what a Trainer runs on, see `devices.start_line`."""
    if launch().is_main:
        devices, kind = trainer.num_devices * trainer.num_nodes, trainer.strategy.root_device.type
        precision = str(trainer.precision) if kind == "cuda" or trainer.precision != "32-true" else ""
        log.info("%s on %s", verb, start_line(devices, kind, precision, decoders, trainer.num_nodes))


def has_logger(ours: Sequence[Any], asked: Mapping[str, Any]) -> bool:
    """Whether a Trainer with these loggers of ours, and a user's arguments, has one."""
    return asked.get("logger") is not False and bool(asked.get("logger") or ours)


def _joined_loggers(ours: list[Any], asked: Any) -> list[Any] | bool:  # noqa: ANN401 (as Lightning has it)
    """Loggers of ours and of a user, who may also say `false` for none, or `true` for ours or Lightning's own."""
    if isinstance(asked, bool):
        return (ours or True) if asked else False
    return [*ours, *listed(asked)] or False


def _check_precision(precision: Any) -> None:  # noqa: ANN401 (as Lightning has it)
    if str(precision) in _UNTRAINABLE:
        raise ConfigError(
            f"--trainer.precision {precision}: weights of 16 bits lose the small steps of a training; use "
            f"{'16-mixed' if '16' in str(precision).split('-') else 'bf16-mixed'}"
        )


@contextmanager
def running() -> Iterator[None]:
    """Context in which a Trainer runs: float32 means IEEE's float32, and errors other than bugs become user errors.

    Raises:
        ConfigError: for arguments that Lightning finds unusable while it runs.
        UgcvqaError: the error of another process, or word that it was killed.
        DeviceError: if a GPU has failed for good.
        KeyboardInterrupt: where Lightning ends the program for it.
    """
    try:
        with float32_products(), loader_errors():
            yield
    except MisconfigurationException as error:
        raise ConfigError(f"--trainer: {_first_line(error)}") from error
    except ProcessRaisedException as error:
        found = error_of_process(str(error))
        if found is None:
            raise
        raise found from error
    except ProcessExitedException as error:
        raise UgcvqaError(f"a process was killed ({error}), perhaps for memory; run the same command again") from error
    except RuntimeError as error:
        check_fatal(error)
        raise
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None or name in _OFF_IF_NONE}


def _is_same(value: Any, harmless: Any) -> bool:  # noqa: ANN401 (plain values)
    """Whether a value is the harmless one; 1 is one batch where 1.0 is all of them."""
    if harmless == "32-true":
        return str(value) in ("32", "32-true")
    return bool(value == harmless) and isinstance(value, type(harmless))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
