"""Models: their sizes, and the agreement of windows, steps and saved models."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.config import ModelName
from pianogen.models.network import Network
from pianogen.training import networks
from pianogen.window import Window
from tests.support.made_networks import (
    REPORT_MODELS,
    SILENCE_US,
    WINDOW_STEPS,
    after_silence,
    made_network,
    made_windows,
    predict_row,
    window_of,
)

UNIDIRECTIONAL = [name for name in REPORT_MODELS if name != "bidirectional"]

PREDICTIONS: list[Literal["last", "every"]] = ["last", "every"]

NO_BARS = tf.constant([0])  # the models of the 2021 report do not read bar positions


def test_every_model_is_tested() -> None:
    assert sorted(networks.REPORT_NETWORKS) == REPORT_MODELS  # tests/unit/test_joint.py tests "joint"


def flat(output: Any) -> np.ndarray:
    """(B, N): all tensors of an output, flattened and concatenated."""
    return np.concatenate([part.numpy().reshape(len(part), -1) for part in tf.nest.flatten(output)], axis=1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("base", 104_963),
        ("gru", 89_667),
        ("rnn", 58_499),
        ("stacked", 104_963 + 33_024),
        ("mlstm", 104_963 + 177 * 64 + 64 * 64),
        ("peephole", 104_963 + 3 * 64),
        # The smaller LSTM and its normalization; the embeddings and what they scale; the normalization of the larger LSTM.
        ("hyperlstm", 104_963 + (64 + 177 + 16 + 1 + 2) * 64 + 2 * 16 + 17 * 32 + 16 * 16 + 12 * 4 * 64 + 10 * 64),
        # A kernel from the other layer to each, and two global reset gates for each.
        ("feedback", 104_963 + 33_024 + 2 * 64 * 64 + 2 * (177 + 128 + 1) + 2 * (64 + 128 + 1)),
        ("bidirectional", 178_243),
        ("split", 61_952 + 65 * 264 + 65),
        ("pair", 61_952 + 61_952 - 4 * 64 + 65 * 264 + 65),
    ],
)
def test_number_of_parameters(name: ModelName, parameters: int) -> None:
    """base and gru have the numbers of the 2021 report."""
    assert made_network(name, units=64).keras.count_params() == parameters


def test_number_of_parameters_depends_on_silence_layers_and_dense_layers() -> None:
    assert made_network("base", units=64, dense_layers=1).keras.count_params() == 61_952 + 65 * 177
    assert made_network("base", units=64, silence=True).keras.count_params() == 4 * 64 * (265 + 64 + 1) + 65 * 265 + 266 * 265
    assert made_network("stacked", layers=3).keras.count_params() == made_network("stacked").keras.count_params() + 4 * 6 * 13


def assert_equal_outputs(output: Any, expected: Any, tolerance: float = 1e-6) -> None:
    tf.nest.map_structure(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=tolerance), output, expected)


def read_by_steps(network: Network, piece: Window) -> tuple[list[Any], Any]:
    """The outputs for all rows of pieces and for the row after them, and the state after the last row."""
    rows = after_silence(piece, 1)
    outputs, num_rows = [], rows.packed.shape[1]
    state = network.initial_state(len(rows.packed), num_rows, SILENCE_US)
    for row in range(num_rows):
        output, state = network.step(rows.packed[:, row], rows.tempo_us[:, row], NO_BARS, state)
        outputs.append(output)
    return outputs, state


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_first_row_of_a_piece_is_predicted_from_a_window_of_silence(name: ModelName) -> None:
    network = made_network(name)
    piece = made_windows(steps=2, batch=2)
    first, _ = read_by_steps(network, piece)
    assert_equal_outputs(first[0], predict_row(network, after_silence(piece), WINDOW_STEPS))
    other_tempo, _ = network.step(
        np.zeros((2, 22), np.uint8), np.full(2, 2 * SILENCE_US, np.int32), NO_BARS, network.initial_state(2, 1, 2 * SILENCE_US)
    )
    assert not np.allclose(flat(first[0]), flat(other_tempo), atol=1e-4), "the silence must have the given tempo"


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_steps_predict_the_same_as_windows(name: ModelName) -> None:
    network = made_network(name, layers=3 if name in ("stacked", "feedback") else None)
    piece = made_windows(steps=12, batch=2)
    rows = after_silence(piece)
    for row, output in enumerate(read_by_steps(network, piece)[0]):
        assert_equal_outputs(output, predict_row(network, rows, WINDOW_STEPS + row))


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_windows_in_parts_predict_the_same_as_steps(name: ModelName) -> None:
    """A window starts with the last row of the window before."""
    network = made_network(name)
    piece = made_windows(steps=12, batch=2)
    rows = after_silence(piece, 1)
    expected_outputs, expected_state = read_by_steps(network, window_of(piece.packed[:, :-1], piece.tempo_us[:, :-1]))
    for parts in ([12], [7, 5], [1, 10, 1]):
        outputs, first, state = [], 0, network.initial_state(2, 0, SILENCE_US)
        for num_rows in parts:
            end = first + num_rows + 1
            output, state = network.read(window_of(rows.packed[:, first:end], rows.tempo_us[:, first:end]), state)
            assert all(tensor.shape[:2] == (2, num_rows) for tensor in tf.nest.flatten(output))
            outputs.append(output)
            first += num_rows
        output, expected = (
            tf.nest.map_structure(lambda *rows: tf.concat(rows, 1), *some) for some in (outputs, expected_outputs)
        )
        assert_equal_outputs(output, expected)
        assert_equal_outputs(state, expected_state)


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_compiled_loop_carries_the_state(name: ModelName) -> None:
    network = made_network(name)
    piece = made_windows(steps=8)
    step = tf.autograph.experimental.do_not_convert(network.step)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def read(state: Any) -> Any:
        rows = tf.nest.map_structure(tf.constant, after_silence(piece, 1))
        output, state = step(rows.packed[:, 0], rows.tempo_us[:, 0], NO_BARS, state)
        for row in tf.range(1, 9):
            output, state = step(rows.packed[:, row], rows.tempo_us[:, row], NO_BARS, state)
        return output

    assert_equal_outputs(read(network.initial_state(1, 9, SILENCE_US)), read_by_steps(network, piece)[0][-1])


@pytest.mark.parametrize("name", REPORT_MODELS)
def test_row_losses_of_a_piece_are_the_losses_of_windows_that_end_with_its_rows(name: ModelName) -> None:
    network = made_network(name)
    piece = made_windows(steps=9, batch=2)
    rows, window = after_silence(piece), after_silence(piece, 1)
    output, _ = network.read(window, network.initial_state(2, 0, SILENCE_US))
    row_losses = network.row_losses(output, window)
    assert tuple(row_losses) == network.metrics
    for row in range(9):
        first = row if name == "bidirectional" else 0
        end = WINDOW_STEPS + row + 1
        losses = network.losses(window_of(rows.packed[:, first:end], rows.tempo_us[:, first:end]), training=False)
        for metric, values in losses.items():
            assert row_losses[metric][:, row].numpy() == pytest.approx(values.numpy(), rel=1e-5)


@pytest.mark.parametrize("name", UNIDIRECTIONAL)
def test_training_on_every_row_averages_over_the_prefixes_of_a_window(name: ModelName) -> None:
    every, last = made_network(name, predict="every"), made_network(name)
    last.keras.set_weights(every.keras.get_weights())
    packed, tempo_us, *_ = made_windows(steps=7, batch=2)
    outputs = every.keras([packed, tempo_us])
    assert_equal_outputs(
        tf.nest.map_structure(lambda rows: rows[:, -1:], outputs), predict_row(last, window_of(packed, tempo_us), 7)
    )
    prefix_losses = [last.losses(window_of(packed[:, :end], tempo_us[:, :end]), training=False) for end in range(2, 8)]
    for metric, value in every.losses(window_of(packed, tempo_us), training=False).items():
        assert np.allclose(value, np.mean([losses[metric] for losses in prefix_losses], axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", UNIDIRECTIONAL)
def test_piece_is_read_the_same_whichever_rows_training_predicts(name: ModelName) -> None:
    every, last = made_network(name, predict="every"), made_network(name)
    last.keras.set_weights(every.keras.get_weights())
    window = after_silence(made_windows(steps=7, batch=2), 1)
    outputs = [network.read(window, network.initial_state(2, 0, SILENCE_US))[0] for network in (every, last)]
    assert_equal_outputs(*outputs)


@pytest.mark.parametrize("name", ["base", "gru", "mlstm", "hyperlstm", "feedback", "bidirectional", "pair"])
def test_training_lowers_the_loss(name: ModelName) -> None:
    network = made_network(name)
    variables = network.keras.trainable_variables
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    window = tf.nest.map_structure(tf.constant, made_windows(steps=9, batch=4))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def iterate() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network.losses(window, training=True)["loss"])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [float(iterate()) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("activation", ["softplus", "relu", "sigmoid"])
@pytest.mark.parametrize("dense_layers", [1, 2])
@pytest.mark.parametrize("silence", [False, True])
def test_vector_head_predicts_every_feature(activation: str, dense_layers: int, silence: bool) -> None:
    network = made_network("base", activation=activation, dense_layers=dense_layers, silence=silence)
    window = made_windows(steps=5, batch=3)
    output = predict_row(network, window, 5)
    assert output.shape == (3, 1, 265 if silence else 177)
    assert output.numpy().min() >= 0
    assert all(np.isfinite(value).all() for value in network.losses(window, training=False).values())


def test_keys_of_pair_do_not_depend_on_the_tempo() -> None:
    network = made_network("pair")
    window = made_windows(steps=6)
    slow, fast = (predict_row(network, window._replace(tempo_us=window.tempo_us * factor), 6) for factor in (2, 1))
    assert np.array_equal(slow["keys"], fast["keys"])
    assert not np.array_equal(slow["tempo"], fast["tempo"])


def test_saved_model_loads_in_keras_with_all_weights(tmp_path: Path) -> None:
    for name, predict in product(REPORT_MODELS, PREDICTIONS):
        network = made_network(name, predict=predict, silence=name == "base")
        network.keras.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        inputs = list(made_windows(steps=5)[:2])
        assert np.array_equal(flat(loaded(inputs)), flat(network.keras(inputs)))


@pytest.mark.parametrize("name", ["base", "gru", "stacked", "bidirectional", "split", "pair"])
def test_layer_without_cudnn_support_is_an_error_on_a_gpu(name: ModelName, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, Keras would fall back to its slow loop without a message."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a GPU"])
    network = made_network(name)
    with pytest.raises(ValueError, match="use_cudnn=True was specified"):
        predict_row(network, made_windows(steps=4), 4)


@pytest.mark.parametrize("name", ["base", "gru", "stacked", "bidirectional", "split", "pair"])
def test_step_does_not_use_cudnn_on_a_gpu(name: ModelName, monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA compiles the steps of samples, and cannot compile the layers of cuDNN."""
    piece = made_windows(steps=6, batch=2)
    on_cpu = made_network(name)
    expected, _ = read_by_steps(on_cpu, piece)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a GPU"])
    network = made_network(name)
    network.keras.set_weights(on_cpu.keras.get_weights())
    outputs, _ = read_by_steps(network, piece)
    assert np.array_equal(flat(outputs), flat(expected))


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("name", REPORT_MODELS)
def test_mixed_precision_computes_in_16_bits_and_returns_32(name: ModelName) -> None:
    network = made_network(name)
    piece = made_windows(steps=6, batch=2)
    assert all(weight.dtype == "float32" for weight in network.keras.weights)
    with tf.GradientTape() as tape:
        losses = network.losses(piece, training=True)
    assert all(value.dtype == tf.float32 for value in losses.values())
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(losses["loss"], network.keras.trainable_weights))
    outputs, state = read_by_steps(network, piece)
    # The state of bidirectional is the last rows themselves.
    state_types = {tf.uint8, tf.int32} if name == "bidirectional" else {tf.float16}
    assert {tensor.dtype for tensor in tf.nest.flatten(state)} == state_types
    read, _ = network.read(after_silence(piece, 1), network.initial_state(2, 0, SILENCE_US))
    expected = predict_row(network, after_silence(piece), WINDOW_STEPS + 5)
    for output in (outputs[5], tf.nest.map_structure(lambda rows: rows[:, 5:], read), expected):
        assert all(tensor.dtype == tf.float32 for tensor in tf.nest.flatten(output))
        assert_equal_outputs(output, expected, tolerance=2e-3)
