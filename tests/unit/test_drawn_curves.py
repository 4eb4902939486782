"""curves.png is drawn at intervals, not at every epoch, and shows every epoch at the end."""

import time
from pathlib import Path

import pytest

from pianogen.training.curves import Curves, draw_curves
from pianogen.training.history import Row


def rows(num_epochs: int) -> list[Row]:
    return [{"epoch": epoch, "iteration": epoch, "loss": 1 / epoch} for epoch in range(1, num_epochs + 1)]


def test_curves_are_drawn_at_intervals_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    path, expected = tmp_path / "curves.png", tmp_path / "expected.png"
    curves = Curves(path, ["loss"])
    curves.update(rows(1))
    assert not path.exists()
    now_s += 60
    curves.update(rows(2))
    draw_curves(rows(2), ["loss"], expected)
    assert path.read_bytes() == expected.read_bytes()
    now_s += 59
    curves.update(rows(3))
    assert path.read_bytes() == expected.read_bytes()
    curves.finish(rows(3))
    draw_curves(rows(3), ["loss"], expected)
    assert path.read_bytes() == expected.read_bytes()
    path.unlink()
    curves.finish(rows(3))
    assert not path.exists()  # it has every epoch already
