"""The records of a W&B run in offline mode: a file of protocol buffers in the log format of LevelDB."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # it is made at run time

_BLOCK_BYTES, _FILE_HEADER_BYTES, _CHUNK_HEADER_BYTES = 32_768, 7, 7
_FULL, _LAST = 1, 4


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows that were logged."""
    histories = [record.history for record in _read_records(path) if record.WhichOneof("record_type") == "history"]
    return [{item.nested_key[0]: json.loads(item.value_json) for item in history.item} for history in histories]


def read_run(path: Path) -> Any:
    """The record of the run: id, name, group and configuration."""
    return next(record.run for record in _read_records(path) if record.WhichOneof("record_type") == "run")


def _read_records(path: Path) -> Iterator[Any]:
    data, position, parts = path.read_bytes(), _FILE_HEADER_BYTES, b""
    while position + _CHUNK_HEADER_BYTES <= len(data):
        if _BLOCK_BYTES - position % _BLOCK_BYTES < _CHUNK_HEADER_BYTES:
            position += _BLOCK_BYTES - position % _BLOCK_BYTES
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        begin = position + _CHUNK_HEADER_BYTES
        parts += data[begin : begin + length]
        position = begin + length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""
