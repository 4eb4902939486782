"""The files of a user who makes mistakes: corpora, stores, sweeps and sweep files, of which many are damaged."""

import json
import wave
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from pianogen.store import Split, Store, write_store
from tests.support.made_corpus import made_midi
from tests.support.made_music import made_roll, store_of
from tests.support.made_sweep import made_sweep
from tests.support.random_store import random_roll, table_of
from tests.support.runs import create_runs

_TEXTS = {
    "table.csv": "name,split\na.mid,train\n",
    "quick.yaml": "device: cpu\nmodel: {units: 8}\ntraining: {epochs: 2}\ngrid: {model.name: [base, gru]}\n",
    "empty.yaml": "",
    "list.yaml": "- device: cpu\n",
    "broken.yaml": "device: [cpu\n",
    "misspelled.yaml": "device: cpu\ntraining: {bach: 3}\n",
    "grid.yaml": "device: cpu\ngrid: {training.batch: 64}\n",
    "twice.yaml": "device: cpu\ngrid: {training.batch: [64, 64]}\n",
    "gpu.yaml": "device: gpu\n",
    "joint.yaml": "device: cpu\nmodel: {name: joint}\nsampling: {threshold: 0.5}\n",
    "unknown.csv": "name,split\nb.mid,train\n",
    "split.csv": "name,split\na.mid,training\n",
    "columns.csv": "file,subset\na.mid,train\n",
    "answers.csv": "test,listener\n1,2\n",
    "key.json": '{"test": "test-1", "seed": 0, "origins": {}}',
    "notes.txt": "practise\n",
}


def create_user_files(folder: Path) -> None:
    """Creates the files in a folder; tests/unit/expected/messages.md shows the messages that each of them causes."""
    for name, text in _TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    _create_corpora(folder)
    _create_stores(folder)
    _create_sweeps(folder / "runs", folder / "corpus.h5")
    with wave.open(str(folder / "theme.wav"), "wb") as sound:
        sound.setparams((1, 2, 44_100, 0, "NONE", ""))
        sound.writeframes(bytes(2_000))


def _create_corpora(folder: Path) -> None:
    for name in ("midis", "more-midis", "no-midis", "copied/sweeps"):
        (folder / name).mkdir(parents=True)
    (folder / "midis" / "a.mid").write_bytes(made_midi(0))
    (folder / "more-midis" / "a.mid").write_bytes(made_midi(1))
    (folder / "no-midis" / "song.mp3").touch()
    (folder / "broken.zip").write_bytes(b"PK\3\4 and no more")


def _create_stores(folder: Path) -> None:
    splits = [Split.TRAIN, Split.TRAIN, Split.VALID, Split.TEST]
    corpus = store_of(folder / "corpus.h5", [made_roll(seed) for seed in range(4)], splits)
    store_of(folder / "other.h5", [made_roll(seed) for seed in range(4, 8)], splits)
    with Store(corpus) as store:
        pieces = replace(store.pieces, group=[""] * 4, name=[f"{number}.mid" for number in range(4)])
        write_store(folder / "no-groups.h5", "corpus", pieces, list(store), {"version": "test"})
        write_store(folder / "no-train.h5", "corpus", replace(pieces, split=np.full(4, Split.TEST)), list(store), {})
    roll = random_roll(0, 100)
    write_store(folder / "samples.h5", "samples", table_of([roll], samples=["{}"]), [roll], {})
    for name, attribute, value in (("old", "schema", "pianogen-store/1"), ("incomplete", "complete", False)):
        (folder / f"{name}.h5").write_bytes(corpus.read_bytes())
        with h5py.File(folder / f"{name}.h5", "r+") as file:
            file.attrs[attribute] = value
    content = bytearray(corpus.read_bytes())
    at = content.find(made_roll(0).packed.tobytes())
    content[at] ^= 1
    (folder / "damaged.h5").write_bytes(content)
    (folder / "cut.h5").write_bytes(content[: len(content) // 2])
    with h5py.File(folder / "frames.h5", "w") as file:
        file["frames"] = np.zeros(3)


def _create_sweeps(folder: Path, corpus: Path) -> None:
    folder.mkdir()
    made_sweep(folder / "done", 1, 24, epochs=2, values={"device": "cpu", "grid": {"model.name": ["base", "gru"]}})
    create_runs(folder / "new", corpus, {"device": "cpu", "grid": {"model.name": ["base", "gru"]}})
    (damaged, *_) = create_runs(folder / "damaged", corpus, {"device": "cpu"})
    (damaged.path / "provenance.json").write_text(json.dumps({"git": None}), encoding="utf-8")
    (folder / "killed").mkdir()
    (folder / "killed" / "sweep.yaml").write_text("device: cpu\n", encoding="utf-8")
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.png").touch()
