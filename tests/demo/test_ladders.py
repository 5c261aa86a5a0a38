"""Encoding ladders of rendered scenes: always the same plan and files, and heavier files are smaller."""

import dataclasses
from itertools import pairwise

from ugcvqa.demo.ladders import RUNGS, SCENES, ladder_plan, write_ladders


def test_plan_is_fixed_and_every_codec_meets_fine_and_worn_sources():
    plan = ladder_plan()
    assert plan == ladder_plan()
    assert plan[:10] == ladder_plan(10)
    assert len(plan) == SCENES
    for is_fine in (True, False):
        chosen = [
            scene for scene in plan if (not scene.source.distortions and scene.source.first_crf is None) == is_fine
        ]
        assert {codec for scene in chosen for codec in scene.codecs} == set(RUNGS)


def test_files_are_the_same_each_time_and_smaller_when_heavier(tmp_path):
    (ladder,) = [scene for scene in ladder_plan() if scene.number == 9]  # an earlier encoding, then H.264 and AV1
    short = dataclasses.replace(ladder, scene=dataclasses.replace(ladder.scene, n_frames=20))
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
    written = [(name, path, path.read_bytes()) for name, path in write_ladders(short, first)]
    assert [name for name, _, _ in written] == [
        f"scene09/{codec}/{crf}" for codec in short.codecs for crf in RUNGS[codec]
    ]
    for codec in short.codecs:
        sizes = [len(content) for name, _, content in written if f"/{codec}/" in name]
        assert all(light > heavy for light, heavy in pairwise(sizes))
    assert [path.read_bytes() for _, path in write_ladders(short, again)] == [content for _, _, content in written]
    assert len(list(first.iterdir())) == len(written)
