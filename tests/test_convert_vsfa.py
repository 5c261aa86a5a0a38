"""The command that makes a model of a published state dict."""

import numpy as np
import torch

from ugcvqa import convert_vsfa
from ugcvqa.scoring.model_file import load


def test_converted_head_scores_as_published(shared, tmp_path, capsys):
    assert convert_vsfa.main([str(shared / "golden/vsfa_gru_konvid.npz"), str(tmp_path / "m.safetensors")]) == 0
    assert "label scale 4.64" in capsys.readouterr().out
    with np.load(shared / "golden/deep_public.npz") as archive:
        lengths, scores = archive["gru_lengths"], archive["gru_score"]
        sequences = np.split(archive["gru_features"], np.cumsum(lengths)[:-1])
    model = load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(model.predict(sequences), 4.64 * scores, rtol=0, atol=5e-5)
    assert model.row == "VSFACNN"


def test_torch_file_needs_its_label_scale(shared, tmp_path, capsys):
    with np.load(shared / "golden/vsfa_gru_konvid.npz") as archive:
        state = {name: torch.from_numpy(archive[name]) for name in archive.files if name != "label_scale"}
    torch.save(state, tmp_path / "VSFA.pt")
    arguments = [str(tmp_path / "VSFA.pt"), str(tmp_path / "m.safetensors")]
    assert convert_vsfa.main(arguments) == 2
    assert "give --label-scale" in capsys.readouterr().err
    assert convert_vsfa.main([*arguments, "--label-scale", "4.677"]) == 0
    assert load(tmp_path / "m.safetensors").head.line.slope == 4.677
    assert convert_vsfa.main([str(tmp_path / "none.pt"), *arguments[1:]]) == 2
