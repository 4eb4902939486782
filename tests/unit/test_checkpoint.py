"""Checkpoints survive a power failure, are restored from any path, and damage never makes a run start from iteration 0."""

import shutil
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from pianogen import atomic
from pianogen.config import CheckpointConfig
from pianogen.training import run_files
from pianogen.training.checkpoints import CheckpointError, Checkpoints

KEEP = CheckpointConfig(keep=3, retry_min=0)


class Training:
    """The state of a training whose weight is the number of completed iterations."""

    def __init__(self, folder: Path, config: CheckpointConfig = KEEP, is_writer: bool = True) -> None:
        self.iteration, self.weight = tf.Variable(0, dtype=tf.int64), tf.Variable(tf.zeros(1_000))
        state = tf.train.Checkpoint(iteration=self.iteration, weight=self.weight)
        self.checkpoints = Checkpoints(state, self.iteration, folder, config, is_writer)

    def save_at(self, *iterations: int) -> None:
        for iteration in iterations:
            self.iteration.assign(iteration)
            self.weight.assign(tf.fill(1_000, float(iteration)))
            self.checkpoints.save()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the iterations 10, 20 and 30."""
    Training(tmp_path / "checkpoints").save_at(10, 20, 30)
    return tmp_path / "checkpoints"


def restored_iteration(folder: Path) -> int:
    """The iteration of the checkpoint that a training restores, after a check that its weight belongs to it."""
    training = Training(folder)
    assert float(training.weight[0]) == float(training.weight[-1]) == int(training.iteration)
    return int(training.iteration)


def test_checkpoint_files_are_fsynced_before_the_pointer_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(tmp_path)
    fsync, synced = atomic.fsync, list[tuple[str, str]]()

    def record(path: Path) -> None:
        pointer = tmp_path / "checkpoint"
        synced.append((path.name, pointer.read_text().split('"')[1] if pointer.is_file() else ""))
        fsync(path)

    monkeypatch.setattr(atomic, "fsync", record)
    training.save_at(1, 2)
    files = {"ckpt-2.index", "ckpt-2.data-00000-of-00001"}
    assert {name for name, newest in synced if newest == "ckpt-1" and name in files} == files
    assert synced[-1] == (tmp_path.name, "ckpt-2"), "the folder is fsynced after the pointer was renamed"


def test_checkpoints_below_a_path_with_brackets_are_restored_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow would read the path as a pattern, and that of the temporary folder too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp[1-9]"))
    (tmp_path / "tmp[1-9]").mkdir()
    folder = tmp_path / "exp[lr]" / "checkpoints"
    Training(folder).save_at(7, 8, 9, 10)
    assert restored_iteration(folder) == 10
    assert names_in(folder) == ["ckpt-10", "ckpt-8", "ckpt-9"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.index"))


def test_remains_of_killed_attempts_are_removed(folder: Path) -> None:
    for name in ("ckpt-25.data-00000-of-00001", "ckpt-99.index", "checkpoint.tmp-0123abcd"):
        (folder / name).write_bytes(bytes(100))
    (folder / "ckpt-98_temp").mkdir()
    (folder / "ckpt-98_temp" / "part").touch()
    (folder / "ckpt-99_temp").symlink_to("ckpt-98_temp")
    (folder / "notes.txt").touch()
    Training(folder).save_at(40)
    checkpoints = [f"ckpt-{number}.{part}" for number in (20, 30, 40) for part in ("data-00000-of-00001", "index")]
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", *checkpoints, "notes.txt"]


@pytest.mark.parametrize("pointer", ["as written", "repaired"])
def test_training_in_a_copy_leaves_the_original_unchanged(folder: Path, tmp_path: Path, pointer: str) -> None:
    if pointer == "repaired":
        (folder / "checkpoint").write_bytes(bytes(100))
        assert restored_iteration(folder) == 30
    copy = shutil.copytree(folder, tmp_path / "copy")
    Training(copy).save_at(40, 50, 60)
    assert names_in(folder) == ["ckpt-10", "ckpt-20", "ckpt-30"]
    assert names_in(copy) == ["ckpt-40", "ckpt-50", "ckpt-60"]
    assert tf.train.latest_checkpoint(str(copy)) == str(copy / "ckpt-60")


@pytest.mark.parametrize("content", [None, b"", bytes(200), b"\xff\xfe" * 20, b'model_checkpoint_path: "ckpt-99"\n'])
def test_damaged_or_missing_pointer_does_not_hide_the_newest_checkpoint(folder: Path, content: bytes | None) -> None:
    pointer = folder / "checkpoint"
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    training = Training(folder)
    assert int(training.iteration) == 30
    training.save_at(40)  # and the number of checkpoints stays limited
    assert restored_iteration(folder) == 40
    assert names_in(folder) == ["ckpt-20", "ckpt-30", "ckpt-40"]


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["zeroed", "truncated", "flipped bit", "missing"])
def test_newest_intact_checkpoint_replaces_a_damaged_one(
    folder: Path, suffix: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / f"ckpt-30{suffix}"
    if damage == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 4
        damaged: dict[str, bytes | bytearray] = {
            "zeroed": bytes(len(content)),
            "truncated": content[: len(content) // 2],
            "flipped bit": content,
        }
        file.write_bytes(damaged[damage])
    assert restored_iteration(folder) == 20
    if (damage, suffix) != ("missing", ".index"):
        assert f"cannot restore checkpoint {folder / 'ckpt-30'}" in caplog.text
    assert restored_iteration(folder) == 20


def test_run_with_damaged_checkpoints_alone_does_not_start_from_zero(folder: Path) -> None:
    for file in folder.glob("ckpt-*.data*"):
        file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(CheckpointError, match=r"cannot restore checkpoint .*ckpt-30 .*To start from iteration 0, remove"):
        Training(folder)
    for file in folder.glob("ckpt-*.index"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"has checkpoint, ckpt-10.data-00000-of-00001.* but no complete checkpoint"):
        Training(folder)
    shutil.rmtree(folder)
    assert restored_iteration(folder) == 0


@pytest.mark.parametrize("part", ["ckpt-0.data-00000-of-00001", "ckpt-0_temp/part-00000-of-00001.index", "ckpt-0.index"])
def test_killed_write_of_the_first_checkpoint_does_not_stop_a_run(tmp_path: Path, part: str) -> None:
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).write_bytes(bytes(100))
    training = Training(tmp_path)
    assert training.checkpoints.newest is None
    training.save_at(0, 10)
    assert restored_iteration(tmp_path) == 10


def test_chosen_older_checkpoint_is_restored(folder: Path) -> None:
    pointer = folder / "checkpoint"
    pointer.write_text(pointer.read_text().replace('model_checkpoint_path: "ckpt-30"', 'model_checkpoint_path: "ckpt-10"', 1))
    assert restored_iteration(folder) == 10


def test_failing_write_is_retried_until_there_is_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "_RETRY_EVERY_S", 0)
    training = Training(tmp_path / "checkpoints", CheckpointConfig(retry_min=1))
    fsync, num_failures = atomic.fsync, 0

    def fail_twice(path: Path) -> None:
        nonlocal num_failures
        if num_failures < 2:
            num_failures += 1
            raise OSError(28, "No space left on device", str(path))
        fsync(path)

    monkeypatch.setattr(atomic, "fsync", fail_twice)
    training.save_at(10)
    assert num_failures == 2
    assert restored_iteration(tmp_path / "checkpoints") == 10


def test_file_in_the_way_of_the_folder_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    training = Training(tmp_path / "checkpoints", CheckpointConfig(retry_min=60))
    with pytest.raises(CheckpointError, match=f"cannot write a checkpoint to {tmp_path / 'checkpoints' / 'ckpt-5'} "):
        training.save_at(5)


def test_message_of_tensorflow_is_shown_without_the_name_of_its_operation(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.OpError, match="function_node") as failure:
        tf.io.read_file(str(tmp_path / "missing"))
    assert run_files.first_line(failure.value) == f"{tmp_path / 'missing'}; No such file or directory"
