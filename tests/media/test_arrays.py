import sys

import av
import numpy as np

from tests.support.media import encode_frames, rgb_frames
from ugcvqa.media.arrays import Memory
from ugcvqa.media.marks import mark_of
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import read_clips, read_frames


def test_memory_is_used_again_once_no_view_of_it_is_held():
    memory = Memory()
    (first, is_empty), (second, _) = memory.take((4, 6), "a"), memory.take((4, 6), "b")
    assert is_empty
    assert not np.shares_memory(first, second)
    view, address = first[1:, ::2], first.ctypes.data
    del first
    assert memory.take((4, 6), "c")[0].ctypes.data != address
    del view
    again, is_empty = memory.take((4, 6), "d")
    assert again.ctypes.data == address
    assert is_empty
    assert memory.take((4, 7), "e")[0].shape == (4, 7)


def test_memory_of_a_longer_piece_serves_a_shorter_one_and_a_shorter_one_gives_way():
    memory = Memory()
    short, _ = memory.take((25, 4, 6), "first")
    del short
    assert len(memory.take((26, 4, 6), "next")[0]) == 26
    assert [len(array) for array in memory._arrays] == [26]
    last, is_empty = memory.take((20, 4, 6), "last")
    assert is_empty
    assert last.shape == (20, 4, 6)
    assert [len(array) for array in memory._arrays] == [26]
    assert memory.take((20, 4, 6), "other")[0] is not last  # that one is held
    assert len(memory._arrays) == 2


def test_who_asks_for_the_same_content_gets_the_same_memory_until_it_is_used_again():
    memory = Memory()
    first, _ = memory.take((4, 6), "a")
    same, is_empty = memory.take((4, 6), "a")
    assert np.shares_memory(same, first)
    assert not is_empty
    del first, same
    memory.take((4, 6), "b")
    assert memory.take((4, 6), "a")[1]


def test_pieces_of_two_families_that_want_the_same_frames_share_them(tmp_path):
    path, video = tmp_path / "v.mkv", rgb_frames(24, 48, 64)
    encode_frames(path, video)
    plans = {"one": groups(24, 6, "y"), "other": groups(24, 6, "y"), "third": groups(24, 8, "y")}
    clips = {(clip.family, clip.piece_index): clip.frames["y"] for clip in read_clips(path, plans)}
    alone = np.stack([image for _, _, image in read_frames(path, form="y")])
    for (family, index), frames in clips.items():
        size = 8 if family == "third" else 6
        np.testing.assert_array_equal(frames, alone[index * size : (index + 1) * size])
    assert all(np.shares_memory(clips["one", k], clips["other", k]) for k in range(4))
    assert not any(np.shares_memory(clips["one", 0], clips["third", k]) for k in range(3))


def groups(count, size, form):
    def plan(_):
        yield from (Piece({form: tuple(range(at, at + size))}) for at in range(0, count, size))

    return plan


def test_clips_that_are_kept_stay_as_they_are(tmp_path):
    path = tmp_path / "clip.mkv"
    encode_frames(path, rgb_frames(12), "ffv1", "bgr0")
    plans = {"one": groups(12, 1, "rgb"), "three": groups(12, 3, "rgb"), "again": groups(12, 1, "rgb")}
    plans |= {"luma": groups(12, 4, "y"), "small": groups(12, 1, "rgb224")}
    kept = list(read_clips(path, plans))
    copies = [{form: images.copy() for form, images in clip.frames.items()} for clip in read_clips(path, plans)]
    for clip, copied in zip(kept, copies, strict=True):
        assert all(np.array_equal(clip.frames[form], copied[form]) for form in copied)
    frames = np.stack([image for _, _, image in read_frames(path)])
    for family in ("one", "three", "again"):
        found = np.concatenate([clip.frames["rgb"] for clip in kept if clip.family == family])
        assert np.array_equal(found, frames)


def test_writing_into_a_clip_changes_no_other(tmp_path):
    path = tmp_path / "clip.mkv"
    encode_frames(path, rgb_frames(6), "ffv1", "bgr0")
    expected = [image.copy() for _, _, image in read_frames(path)]
    found = []
    for clip in read_clips(path, {"one": groups(6, 1, "rgb"), "again": groups(6, 1, "rgb")}):
        if clip.family == "one":
            clip.frames["rgb"][:] = 0
        else:
            found.append(clip.frames["rgb"][0])
    assert np.array_equal(found, expected)


def test_a_frame_is_let_go_of_once_its_marks_are_read(tmp_path):
    path = encode_frames(tmp_path / "clip.mp4", rgb_frames(3))
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            held = sys.getrefcount(frame)
            mark_of(frame)
            assert sys.getrefcount(frame) == held
