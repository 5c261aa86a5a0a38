"""Encodes the odd little files that the video tests read: formats, tags and damage that `write_video` never makes."""

import struct
from fractions import Fraction

import av
import numpy as np

from ugcvqa.media.encode import kept_scheduling
from ugcvqa.media.video import read_frames

COUNT = 14
# file name, encoder, pixel format, options
FORMATS = [
    ("h264.mp4", "libx264", "yuv420p", {}),
    ("h264.mkv", "libx264", "yuv420p", {}),
    ("h264.avi", "libx264", "yuv420p", {"bf": "0"}),
    ("h264.ts", "libx264", "yuv420p", {}),
    ("h265.mkv", "libx265", "yuv420p", {"x265-params": "log-level=none:pools=none:frame-threads=1"}),
    ("vp9.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    ("vp8.webm", "libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "8", "cpu-used": "8"}),
    ("av1.mp4", "libsvtav1", "yuv420p", {"preset": "12"}),
    ("mpeg4.avi", "mpeg4", "yuv420p", {"bf": "2"}),
    ("mpeg4.mp4", "mpeg4", "yuv420p", {}),
    ("mjpeg.avi", "mjpeg", "yuvj420p", {}),
    ("mjpeg.mov", "mjpeg", "yuvj422p", {}),
    ("prores.mov", "prores_ks", "yuv422p10le", {}),
    ("ffv1.mkv", "ffv1", "yuv444p", {}),
]


def pattern(index, height=48, width=64):
    """A moving RGB test picture (H, W, 3) with fine detail in it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(3 * x + 5 * index) % 256, (4 * y + 3 * index) % 256, (x + y + 7 * index) % 256], -1).astype(
        np.uint8
    )


def planes(index, height=48, width=64):
    """Three 8-bit planes of 4:2:0 with levels over the whole range 0..255."""
    rng = np.random.default_rng(index)
    half = ((height + 1) // 2, (width + 1) // 2)
    return tuple(rng.integers(0, 256, size, dtype=np.uint8) for size in ((height, width), half, half))


def plane_frame(parts, pix_fmt):
    """A PyAV frame made of given planes (uint8 or little-endian uint16), whatever its line sizes."""
    height, width = parts[0].shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, parts, strict=True):
        rows = values.reshape(plane.height, -1).view(np.uint8)
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : rows.shape[1]] = rows
        plane.update(padded.tobytes())
    return frame


def encode_frames(
    path,
    frames,
    codec="libx264",
    pix_fmt="yuv420p",
    rate=25,
    options=None,
    pts=None,
    rotation=None,
    full=None,
    audio_s=0.0,
):
    """Writes PyAV frames; `pts` in frame units, `rotation` counter-clockwise, `full` tags the range."""
    with kept_scheduling(), av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=Fraction(rate), options=options or {})
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        sound = (
            output.add_stream("pcm_s16le" if str(path).endswith(("mkv", "mov", "avi")) else "aac", rate=8000)
            if audio_s
            else None
        )
        for index, frame in enumerate(frames):
            if index == 0:
                stream.width, stream.height = frame.width, frame.height
                if full is not None:
                    stream.codec_context.color_range = 2 if full else 1
                if rotation is not None:
                    stream.set_display_rotation(rotation)
            if full is not None:
                frame.color_range = 2 if full else 1
            frame.pts = index if pts is None else pts[index]
            frame.time_base = 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound:
            for start in range(0, int(8000 * audio_s), 800):
                chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 8000, start, Fraction(1, 8000)
                output.mux(sound.encode(chunk))
            output.mux(sound.encode(None))
    return path


def rgb_frames(count, height=48, width=64):
    """PyAV frames of the RGB pattern."""
    return [av.VideoFrame.from_ndarray(pattern(i, height, width), format="rgb24") for i in range(count)]


def remux(source, target, keep, **options):
    """Copies the packets of a file for which keep(packet number) holds; `options` are those of the container."""
    with av.open(str(source)) as inp, av.open(str(target), "w", container_options=options) as output:
        stream = inp.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in inp.demux(stream) if packet.size):
            if keep(number):
                packet.stream = copy
                output.mux(packet)
    return target


def at_other_speed(source, target, speed):
    """Copies the packets of a file with time stamps that a player shows so many times faster."""
    with av.open(str(source)) as inp, av.open(str(target), "w") as output:
        stream = inp.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in (packet for packet in inp.demux(stream) if packet.size):
            packet.pts, packet.dts = round(packet.pts / speed), round(packet.dts / speed)
            packet.duration = round(packet.duration / speed)
            packet.stream = copy
            output.mux(packet)
    return target


def naive(path, form="rgb"):
    """All frames of a file by the plainest PyAV loop: the independent reader."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    if form == "rgb":
        return [frame.to_ndarray(format="rgb24").transpose(2, 0, 1) for frame in frames], [f.time for f in frames]
    flat = [frame.to_ndarray(format="yuv420p") for frame in frames]
    return [image[: frames[0].height] for image in flat], [frame.time for frame in frames]


def plain_file(path):
    """Writes one second of H.264 with detail in every frame, moov atom in front."""
    with av.open(str(path), "w", container_options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in rgb_frames(25):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def whole(path, form="rgb", **settings):
    """All frames of a file as one array, with indices and times."""
    indices, times, images = zip(*read_frames(path, form=form, **settings), strict=True)
    return np.stack(images), indices, times


def grown(data, at, inserted, names):
    """The bytes of an MP4 with some more at a place, and the sizes of the boxes that hold it mended."""
    data = bytearray(data[:at] + inserted + data[at:])
    for name in names:
        place = data.index(name, data.index(b"moov")) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + len(inserted))
    return data


def with_clean_aperture(source, target, width, height, right=0, down=0):
    """The same H.264 MP4, its moov at the end, with a clean aperture whose centre lies half pixels off the middle."""
    data = source.read_bytes()
    at = data.index(b"pasp" if b"pasp" in data else b"avcC") - 4
    box = struct.pack(">I4s4IiIiI", 40, b"clap", width, 1, height, 1, right, 2, down, 2)
    target.write_bytes(grown(data, at, box, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")))
    return target
