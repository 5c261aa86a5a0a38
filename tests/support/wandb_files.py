"""Reads what W&B wrote into an offline run, without W&B: records of Protocol Buffers in LevelDB's log format."""

import json
import time

_BLOCK = 32768
_HEADER = 7


def offline_run(folder):
    """The run, its history and its last summary, from the only offline run in FOLDER/wandb."""
    (found,) = offline_runs(folder)
    return found


def offline_runs(folder):
    """All offline runs in FOLDER/wandb: name, group, job_type, notes, tags, config, history and summary of each."""
    return [_read(path) for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))]


def _read(path):
    found = {"history": [], "summary": {}}
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"name": run.display_name, "group": run.run_group, "job_type": run.job_type, "notes": run.notes}
            found |= {"tags": list(run.tags), "config": _values(run.config.update), "project": run.project}
        elif kind == "history":
            found["history"].append(_values(record.history.item))
        elif kind == "summary":
            found["summary"] |= _values(record.summary.update)
    return found


def _values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(path):
    from wandb.proto.wandb_internal_pb2 import Record

    data = _finished(path, Record)
    for text in _texts(data):
        record = Record()
        record.ParseFromString(text)
        yield record


def _finished(path, kind):
    """The file, once W&B's own process has written the end of the run."""
    deadline = time.monotonic() + 60
    while True:
        data = path.read_bytes()
        *_, last = [b"", *_texts(data)]
        if kind.FromString(last).WhichOneof("record_type") == "exit" or time.monotonic() > deadline:
            return data
        time.sleep(0.1)


def _texts(data):
    place, text = _HEADER, b""
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        text += data[place + _HEADER : place + _HEADER + size]
        place += _HEADER + size
        if kind in (1, 4):  # whole, or the last piece
            yield text
            text = b""
