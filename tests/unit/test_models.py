"""Models: their sizes, and the agreement of windows, steps and saved models."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen import models
from pianogen.config import ModelName
from pianogen.window import Window
from tests.support.made_networks import WINDOW_STEPS, made_network, made_windows

MODELS: list[ModelName] = ["base", "bidirectional", "gru", "mlstm", "pair", "peephole", "rnn", "split", "stacked"]
UNIDIRECTIONAL = [name for name in MODELS if name != "bidirectional"]
PREDICTIONS: list[Literal["last", "every"]] = ["last", "every"]


def test_every_model_is_tested() -> None:
    assert sorted(models.NETWORKS) == MODELS


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
        ("bidirectional", 178_243),
        ("split", 61_952 + 65 * 264 + 65),
        ("pair", 61_952 + 61_952 - 4 * 64 + 65 * 264 + 65),
    ],
)
def test_number_of_parameters(name: ModelName, parameters: int) -> None:
    """base and gru have the numbers of the report."""
    assert made_network(name, units=64).keras.count_params() == parameters


def test_number_of_parameters_depends_on_silence_layers_and_dense_layers() -> None:
    assert made_network("base", units=64, dense_layers=1).keras.count_params() == 61_952 + 65 * 177
    assert made_network("base", units=64, silence=True).keras.count_params() == 4 * 64 * (265 + 64 + 1) + 65 * 265 + 266 * 265
    assert made_network("stacked", layers=3).keras.count_params() == made_network("stacked").keras.count_params() + 4 * 6 * 13


@pytest.mark.parametrize("name", UNIDIRECTIONAL)
def test_steps_predict_the_same_as_a_window(name: ModelName) -> None:
    network = made_network(name, layers=3 if name == "stacked" else None)
    packed, tempo_us, _ = made_windows(steps=20, batch=2)
    state = network.initial_state(2)
    for step in range(20):
        output, state = network.step(packed[:, step], tempo_us[:, step], state)
    assert np.allclose(flat(output), flat(network.predict(packed, tempo_us)), atol=1e-6)


def test_bidirectional_steps_predict_the_same_as_the_last_window() -> None:
    network = made_network("bidirectional")
    packed, tempo_us, _ = made_windows(steps=WINDOW_STEPS + 3, batch=2)
    state = network.initial_state(2)
    for step in range(packed.shape[1]):
        output, state = network.step(packed[:, step], tempo_us[:, step], state)
        window = slice(max(0, step + 1 - WINDOW_STEPS), step + 1)
        assert np.allclose(flat(output), flat(network.predict(packed[:, window], tempo_us[:, window])), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_compiled_loop_carries_the_state(name: ModelName) -> None:
    network = made_network(name)
    packed, tempo_us, _ = made_windows(steps=8)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def read() -> Any:
        rows, tempos = tf.constant(packed), tf.constant(tempo_us)
        output, state = network.step(rows[:, 0], tempos[:, 0], network.initial_state(1))
        for step in tf.range(1, 8):
            output, state = network.step(rows[:, step], tempos[:, step], state)
        return output

    last = slice(8 - WINDOW_STEPS, 8) if name == "bidirectional" else slice(0, 8)
    assert np.allclose(flat(read()), flat(network.predict(packed[:, last], tempo_us[:, last])), atol=1e-6)


@pytest.mark.parametrize("name", UNIDIRECTIONAL)
def test_training_on_every_row_averages_over_the_prefixes_of_a_window(name: ModelName) -> None:
    every, last = made_network(name, predict="every"), made_network(name)
    last.keras.set_weights(every.keras.get_weights())
    packed, tempo_us, _ = made_windows(steps=7, batch=2)
    assert np.allclose(flat(every.predict(packed, tempo_us)), flat(last.predict(packed, tempo_us)), atol=1e-6)
    prefix_losses = [last.losses(Window(packed[:, :end], tempo_us[:, :end]), training=False) for end in range(2, 8)]
    for metric, value in every.losses(Window(packed, tempo_us), training=False).items():
        assert np.allclose(value, np.mean([losses[metric] for losses in prefix_losses], axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", ["base", "gru", "mlstm", "bidirectional", "pair"])
def test_training_lowers_the_loss(name: ModelName) -> None:
    network = made_network(name)
    variables = network.keras.trainable_variables
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    window = tf.nest.map_structure(tf.constant, made_windows(steps=9, batch=4))

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
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
    packed, tempo_us, _ = made_windows(steps=5, batch=3)
    output = network.predict(packed, tempo_us)
    assert output.shape == (3, 265 if silence else 177)
    assert output.numpy().min() >= 0
    assert all(np.isfinite(value).all() for value in network.losses(Window(packed, tempo_us), training=False).values())


def test_keys_of_pair_do_not_depend_on_the_tempo() -> None:
    network = made_network("pair")
    packed, tempo_us, _ = made_windows(steps=6)
    slow, fast = (network.predict(packed, tempo_us * factor) for factor in (2, 1))
    assert np.array_equal(slow["keys"], fast["keys"])
    assert not np.array_equal(slow["tempo"], fast["tempo"])


def test_saved_model_loads_in_keras_with_all_weights(tmp_path: Path) -> None:
    for name, predict in product(MODELS, PREDICTIONS):
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
        network.predict(*made_windows(steps=4)[:2])


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_computes_in_16_bits_and_returns_32(name: ModelName) -> None:
    network = made_network(name)
    packed, tempo_us, _ = made_windows(steps=6, batch=2)
    assert all(weight.dtype == "float32" for weight in network.keras.weights)
    output = network.predict(packed, tempo_us)
    assert all(tensor.dtype == tf.float32 for tensor in tf.nest.flatten(output))
    with tf.GradientTape() as tape:
        losses = network.losses(Window(packed, tempo_us), training=True)
    assert all(value.dtype == tf.float32 for value in losses.values())
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(losses["loss"], network.keras.trainable_weights))
    state = network.initial_state(2)
    for step in range(6):
        stepped, state = network.step(packed[:, step], tempo_us[:, step], state)
    assert all(tensor.dtype == tf.float32 for tensor in tf.nest.flatten(stepped))
    # The state of bidirectional is the last rows themselves.
    state_types = {tf.uint8, tf.int32} if name == "bidirectional" else {tf.float16}
    assert {tensor.dtype for tensor in tf.nest.flatten(state)} == state_types
    last = slice(-WINDOW_STEPS if name == "bidirectional" else 0, None)
    assert np.allclose(flat(stepped), flat(network.predict(packed[:, last], tempo_us[:, last])), atol=2e-3)
