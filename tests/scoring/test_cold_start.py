import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.media import encode_frames, rgb_frames
from ugcvqa import score
from ugcvqa.nss import engines
from ugcvqa.scoring import released
from ugcvqa.scoring.model_file import load

HEAVY = ("torch", "torchvision", "lightning", "scipy", "numba", "sklearn", "matplotlib")
PROGRAM = """
import json, sys
from ugcvqa import score
code = score.main(sys.argv[2:])
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 0 kB"
peak_kib = int(status.split("VmHWM:")[1].split()[0])
print(json.dumps({"imported": [name for name in json.loads(sys.argv[1]) if name in sys.modules], "peak_kib": peak_kib}))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    encode_frames(path, rgb_frames(40, 96, 128), rate=20)
    return path


def scored(*arguments, **environment):
    command = [sys.executable, "-c", PROGRAM, json.dumps(HEAVY), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("how", [(), ("--json", "--explain"), ("--csv",)])
def test_a_model_without_a_network_is_scored_without_torch_and_its_companions(clip, how):
    result = scored(clip, *how)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["imported"] == []


def test_the_same_model_and_engine_score_alike_with_and_without_torch(clip):
    model = load(released.released_file(released.DEFAULT), nss_engine="compiled")
    result = scored(clip, "--json")
    # Other libraries in the process may bring other arithmetic of matrices, which differs by rounding.
    assert json.loads(result.stdout.splitlines()[0])["pred"] == pytest.approx(model.score(clip).pred, abs=1e-7)


def test_engines_agree_within_rounding_and_have_other_fingerprints(clip):
    compiled, readable = (load(released.released_file(released.DEFAULT), nss_engine=e) for e in ("compiled", "torch"))
    assert compiled.score(clip).pred == pytest.approx(readable.score(clip).pred, abs=1e-3)
    assert compiled.fingerprint != readable.fingerprint
    assert compiled.fingerprint == load(released.released_file(released.DEFAULT)).fingerprint


def test_without_numba_torch_computes_and_one_line_says_so(clip, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ugcvqa.nss.compiled", None)
    monkeypatch.delattr("ugcvqa.nss.compiled", raising=False)
    engines._installed.cache_clear()
    try:
        fallen, readable = (load(released.released_file(released.DEFAULT), nss_engine=e) for e in ("compiled", "torch"))
        assert fallen.score(clip).pred == readable.score(clip).pred
        assert fallen.fingerprint == readable.fingerprint
        assert caplog.text.count("NSS features are computed by torch") == 1
    finally:
        engines._installed.cache_clear()


def test_workers_need_no_torch_and_their_processor_time_is_their_callers(clip, tmp_path):
    program = (
        "import json, os, resource, sys\n"
        "from ugcvqa import score\n"
        "if __name__ == '__main__':\n"
        "    code = score.main(sys.argv[1:])\n"
        "    used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))\n"
    )
    (tmp_path / "program.py").write_text(program)
    arguments = [clip] * 4, ["--workers", "2", "--output", tmp_path / "scores.csv"]
    command = [sys.executable, tmp_path / "program.py", *(str(each) for group in arguments for each in group)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    code, seconds, kib = json.loads(result.stdout.splitlines()[-1])
    assert code == 0
    assert seconds > 0.1  # the imports of a worker alone take more
    if sys.platform == "linux":
        assert kib < 500_000  # with torch it is more


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own record of memory")
def test_a_command_without_torch_takes_less_than_half_the_memory_of_torch(tmp_path):
    path = tmp_path / "large.mp4"
    encode_frames(path, rgb_frames(8, 540, 960), rate=4)
    result = scored(path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["peak_kib"] < 300 * 1024  # with torch it is 740


def test_the_slim_installation_has_the_versions_that_are_tested():
    root = Path(__file__).parents[2]
    lines = (root / "requirements-score.txt").read_text().splitlines()
    pins = {line for line in lines if not line.startswith("#")}
    assert pins <= set((root / "constraints.txt").read_text().split())
    assert not any(pin.startswith(("torch", "lightning", "nvidia")) for pin in pins)


def test_what_a_slim_installation_lacks_is_one_line(monkeypatch, capsys):
    def fails(*_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("ugcvqa.score._scorer", fails)
    assert score.main(["clip.mp4"]) == 2
    assert capsys.readouterr().err == "ugcvqa score: error: this needs the package torch, which is not installed here\n"


def test_the_engine_is_compiled_and_torch_for_float64(monkeypatch):
    """Also where there is a GPU: cores compute NSS beside it."""
    import torch

    for has_gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=has_gpu: found)
        assert engines.usable_engine("auto") == "compiled"
        assert engines.usable_engine("auto", "float64") == "torch"
    assert [engines.usable_engine(engine) for engine in ("torch", "compiled")] == ["torch", "compiled"]


def test_without_torch_the_compiled_kernels_serve(monkeypatch, caplog):
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "torch" else True)
    assert engines._installed.__wrapped__("torch") == "compiled"
    assert "equal to rounding" in caplog.text
