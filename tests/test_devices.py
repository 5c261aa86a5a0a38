"""Who started a process, which of how many it is, what runs on what, and which errors of a GPU end a process."""

import os

import pytest
import torch

from ugcvqa import devices
from ugcvqa.bulk.scoring import Call, n_workers
from ugcvqa.bulk.shards import Shard, shard_of_environment
from ugcvqa.devices import check_fatal, float32_products, is_fatal, n_loaders, start_line
from ugcvqa.errors import ConfigError, DeviceError, VideoError
from ugcvqa.extract import main as extract
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler
from ugcvqa.features.light_families import ContainerFamily
from ugcvqa.features.stream import Item
from ugcvqa.fit import main as fit
from ugcvqa.launchers import Launch, launch
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DecodeLimits

SLURM = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_NODES": "2"}


def torchrun(rank, local, node, world=4, per_node=2):
    return {
        **{"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": str(per_node)},
        **{"GROUP_RANK": str(node), "TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
    }


def openmpi(rank, local):
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    return {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in zip(names, (rank, 4, local, 2), strict=True)}


# environment -> launcher, rank, world, local rank, local world, node, whether it is the main process
TABLE = [
    ({}, "plain", 0, 1, 0, 1, 0, True),
    ({"LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "2"}, "plain", 0, 1, 0, 1, 0, True),  # Lightning's first
    ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, "lightning", 1, 1, 1, 1, 0, False),
    ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"}, "lightning", 0, 1, 0, 1, 1, False),
    (torchrun(0, 0, 0, 2), "torchrun", 0, 2, 0, 2, 0, True),
    (torchrun(1, 1, 0, 2), "torchrun", 1, 2, 1, 2, 0, False),
    (torchrun(0, 0, 0), "torchrun", 0, 4, 0, 2, 0, True),
    (torchrun(2, 0, 1), "torchrun", 2, 4, 0, 2, 1, False),  # the first of the second machine
    ({**SLURM, **STEP, "SLURM_PROCID": "1", **torchrun(0, 0, 0)}, "torchrun", 0, 4, 0, 2, 0, True),
    ({**SLURM, **STEP}, "srun", 0, 8, 0, 4, 0, True),
    ({**SLURM, **STEP, "SLURM_PROCID": "4", "SLURM_NODEID": "1"}, "srun", 4, 8, 0, 4, 1, False),
    ({**SLURM, "SLURM_STEP_ID": "3", "SLURM_NTASKS": "1"}, "srun", 0, 1, 0, 1, 0, True),
    ({**SLURM, "SLURM_STEP_ID": "3", "SLURM_NTASKS": "1", "LOCAL_RANK": "1"}, "srun", 1, 1, 1, 1, 0, False),
    ({**SLURM, "SLURM_NTASKS": "8"}, "sbatch", 0, 1, 0, 1, 0, True),
    ({**SLURM}, "sbatch", 0, 1, 0, 1, 0, True),
    ({**SLURM, "SLURM_STEP_ID": "4294967291", "SLURM_NTASKS": "8"}, "sbatch", 0, 1, 0, 1, 0, True),
    ({**SLURM, "SLURM_NTASKS": "1", "LOCAL_RANK": "1"}, "lightning", 1, 1, 1, 1, 0, False),
    (openmpi(0, 0), "mpirun", 0, 4, 0, 2, 0, True),
    (openmpi(2, 0), "mpirun", 2, 4, 0, 2, 1, False),
    ({**SLURM, **STEP, "SLURM_PROCID": "1", **openmpi(0, 0)}, "mpirun", 0, 4, 0, 2, 0, True),  # orted came by srun
    ({"PMI_RANK": "3", "PMI_SIZE": "4"}, "mpirun", 3, 4, 3, 4, 0, False),
]


@pytest.mark.parametrize(("environment", "launcher", "rank", "world", "local", "per_node", "node", "is_main"), TABLE)
def test_table_of_launchers(environment, launcher, rank, world, local, per_node, node, is_main):
    found = launch(environment)
    assert (found.launcher, found.rank, found.world) == (launcher, rank, world)
    assert (found.local_rank, found.local_world, found.node) == (local, per_node, node)
    assert found.is_main == is_main
    assert shard_of_environment(environment) == (Shard(rank + 1, world) if world > 1 else Shard())


def test_trainer_takes_the_processes_that_were_started():
    assert launch({}).trainer_arguments() == {}
    assert launch(torchrun(2, 0, 1)).trainer_arguments() == {"devices": 2, "num_nodes": 2, "strategy": "ddp"}
    launch(torchrun(2, 0, 1)).check(4, True)
    launch({}).check(4, False)
    launch(SLURM).check(4, False)  # Lightning starts them itself
    for environment, processes, is_joined, message in (
        (torchrun(0, 0, 0), 2, True, "give --trainer.devices 2 --trainer.num_nodes 2"),
        (openmpi(0, 0), 1, False, "cannot find each other"),
        (SLURM, 2, True, "write `srun` before it"),
    ):
        with pytest.raises(ConfigError, match=message):
            launch(environment).check(processes, is_joined)
    with pytest.raises(ConfigError, match="not as 8 processes"):
        launch({**SLURM, "SLURM_NTASKS": "8"}).check_tasks()
    assert Launch().n_nodes == 1


@pytest.mark.parametrize(
    ("verb", "arguments", "environment", "message"),
    [
        (extract, ["--trainer.devices", "2"], {**SLURM, "SLURM_NTASKS": "1"}, "write `srun` before it"),
        (extract, [], {**SLURM, "SLURM_NTASKS": "2"}, "not as 2 processes"),
        (fit, [], {**SLURM, "SLURM_NTASKS": "2"}, "not as 2 processes"),
        (extract, [], openmpi(0, 0), "torchrun or srun"),
        (fit, ["--trainer.precision", "bf16-true", "--head", "gru"], {}, "use bf16-mixed"),
        (fit, ["--trainer.precision", "16-true", "--head", "end_to_end"], {}, "use 16-mixed"),
    ],
)
def test_what_would_hang_or_break_is_one_line(
    tmp_path, labelled, monkeypatch, capsys, verb, arguments, environment, message
):
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "RANK", "LOCAL_RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = ["--out", str(tmp_path / "runs")] if verb is fit else []
    store = str(tmp_path / "store")
    assert verb(["--store", store, "--trainer.accelerator", "cpu", *out, *arguments, *labelled]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Arguments of a data set of two files, of which nothing is read before the check."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in "ab":
        (folder / f"{name}.mp4").write_bytes(name.encode() * 10)
    (folder / "labels.csv").write_text("file,mos\na.mp4,1\nb.mp4,2\n")
    return ["--data.name", "own", "--data.root", str(folder), "--data.labels", str(folder / "labels.csv")]


@pytest.mark.parametrize(
    ("text", "fatal"),
    [
        ("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be", True),
        ("CUDA error: device-side assert triggered", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: unspecified launch failure", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("CUDA error: no kernel image is available for execution on the device", True),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("CUDA error: out of memory", False),
        ("CUDA error: invalid argument", False),  # such a device goes on
        ("an illegal memory access in words of a codec", False),
    ],
)
def test_errors_after_which_a_gpu_is_unusable(text, fatal):
    assert is_fatal(RuntimeError(text)) == fatal
    assert not is_fatal(VideoError(text))
    if fatal:
        with pytest.raises(DeviceError, match="what is unfinished stays open"):
            check_fatal(RuntimeError(text))


def test_a_doubtful_error_is_settled_by_trying_the_device(monkeypatch):
    error, device = RuntimeError("CUDA error: invalid argument"), torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
    assert not is_fatal(error, device)

    def broken(*_size, **_device):
        raise RuntimeError("CUDA error: invalid argument")

    monkeypatch.setattr(torch, "ones", broken)
    assert is_fatal(error, device)


def test_float32_is_exact_on_every_unit_and_what_was_set_comes_back():
    units = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    before = [unit.fp32_precision for unit in units]
    with float32_products():
        assert [unit.fp32_precision for unit in units] == ["ieee"] * 3
        with float32_products("tf32"):
            assert [unit.fp32_precision for unit in units] == ["tf32"] * 3
        assert [unit.fp32_precision for unit in units] == ["ieee"] * 3
    assert [unit.fp32_precision for unit in units] == before


def test_loaders_share_the_cores_of_a_machine(monkeypatch):
    monkeypatch.setattr(devices, "n_cores", lambda: 16)
    assert [n_loaders(-1, True, ranks) for ranks in (1, 2, 8, 32)] == [15, 7, 1, 1]
    assert (n_loaders(-1, False, 2), n_loaders(3, False, 2), n_loaders(0, True, 1)) == (0, 3, 0)
    for name, value in {**SLURM, **STEP, "SLURM_CPUS_PER_TASK": "16"}.items():
        monkeypatch.setenv(name, value)
    assert n_loaders(-1, True, 4) == 15  # SLURM has dealt them out


def test_start_line(monkeypatch):
    monkeypatch.setattr(devices, "why_no_gpu", lambda: "driver too old for CUDA 13.2")
    assert start_line(16, "cpu", "", 0) == "no GPU: driver too old for CUDA 13.2, using 16 CPU processes"
    assert start_line(1, "cpu", "", 2).endswith("using 1 CPU process, 2 decoders each")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert start_line(2, "cuda", "bf16-mixed", 7) == "2 x NVIDIA H100, bf16-mixed, 7 decoders each"
    assert start_line(4, "cuda", "32-true", 3, 2) == "4 x NVIDIA H100 on 2 machines, 32-true, 3 decoders each"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The NVIDIA driver on your system is too old (found version 12020).", "driver too old for CUDA 13.2"),
        ("Found no NVIDIA driver on your system.", "no NVIDIA driver"),
        ("CUDA unknown error - this may be\ndue to", "CUDA unknown error - this may be due to"),
    ],
)
def test_reason_for_a_missing_gpu(text, reason):
    assert devices._driver_problem(text, "13.2") == reason


class Broken(ContainerFamily):
    """Fails as a GPU does."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def __call__(self, frames):
        raise RuntimeError(self.text)


def test_an_error_that_ends_a_gpu_is_no_row_and_lack_of_memory_is_one():
    item = Item(0, "container", {"container": torch.zeros(3)})
    with pytest.raises(DeviceError, match="run the same command again"):
        compute({"container": Broken("CUDA error: an illegal memory access was encountered")}, [item])
    (reason,) = compute({"container": Broken("CUDA out of memory. Tried to allocate 2.00 GiB")}, [item])
    assert isinstance(reason, VideoError)


def test_what_a_gpu_fails_to_give_back_ends_the_process_too(monkeypatch):
    """Its errors come late: where results are fetched."""

    def fetched(_):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr("ugcvqa.features.extraction.as_array", fetched)
    families = {"container": ContainerFamily()}
    with pytest.raises(DeviceError):
        Assembler(families).close(Item(0))


class Scorer:
    """Notes how it is asked to score."""

    modules = ()
    asked: dict = {}  # noqa: RUF012

    def score_many(self, paths, **how):
        self.asked.update(how)
        return iter([Score(path, 3.0, 0.1, "") for path in paths])


def test_one_process_scores_on_a_gpu_and_the_others_decode_for_it(monkeypatch):
    monkeypatch.setattr(devices, "n_cores", lambda: 16)
    assert n_workers(-1, 100, True, None, "cuda") == 15
    assert n_workers(-1, 1, False, None, "cuda") == 0
    monkeypatch.setattr("ugcvqa.bulk.scoring.WorkerPool", lambda *_: pytest.fail("several processes on a GPU"))
    call = Call(Scorer(), 15, "cuda:1", 1, DecodeLimits(), None)
    assert [score.path for score in call.scores(["a", "b"])] == ["a", "b"]
    assert (Scorer.asked["workers"], Scorer.asked["device"]) == (15, "cuda:1")
