"""Small label files and empty videos."""

VIDS = ("Gaming_1080P-0aaa", "Vlog_360P-0bbb", "Gaming_2160P-0ccc", "Animation_360P-0ddd")


def names(dataset):
    return [video.video_id.split("/", 1)[1] for video in dataset.videos]


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def touch(root, *files):
    for file in files:
        write(root / file, "")
    return root
