"""Piano rolls from MIDI, recurrent models trained on them, and MIDI from the models' samples.

The names of the Python API (docs/python.md) are loaded when they are first used, because TensorFlow and music21 take seconds.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Roll": "pianogen.roll",
    "Split": "pianogen.store",
    "Store": "pianogen.store",
    "load_model": "pianogen.api.trained",
    "read_midi": "pianogen.api.midi_files",
    "read_results": "pianogen.api.results",
    "wav": "pianogen.sound",
    "write_midi": "pianogen.api.midi_files",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pianogen' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
