"""The recurrent cells of this package compute the equations of their papers."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from pianogen.models.feedback import GatedFeedbackLSTMCell
from pianogen.models.hyperlstm import HyperLSTMCell
from pianogen.models.mlstm import MultiplicativeLSTMCell
from pianogen.models.peephole import PeepholeLSTMCell

Weights = dict[str, np.ndarray]
States = list[np.ndarray]
Step = Callable[[np.ndarray, States, Weights], States]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def mlstm_step(x: np.ndarray, states: States, weights: Weights) -> States:
    """Krause et al. 2016, equations 15 to 20, with biases."""
    h, c = states
    w_ix, w_fx, w_hx, w_ox, w_mx = np.split(weights["kernel"], 5, axis=1)
    w_im, w_fm, w_hm, w_om = np.split(weights["recurrent_kernel"], 4, axis=1)
    b_i, b_f, b_h, b_o = np.split(weights["bias"], 4)
    m = (x @ w_mx) * (h @ weights["product_kernel"])
    h_hat = x @ w_hx + m @ w_hm + b_h
    i, f, o = sigmoid(x @ w_ix + m @ w_im + b_i), sigmoid(x @ w_fx + m @ w_fm + b_f), sigmoid(x @ w_ox + m @ w_om + b_o)
    c = f * c + i * np.tanh(h_hat)
    return [np.tanh(c) * o, c]


def peephole_step(x: np.ndarray, states: States, weights: Weights) -> States:
    """Gers and Schmidhuber 2000, with one cell per block."""
    h, c = states
    w_i, w_f, w_c, w_o = np.split(weights["kernel"], 4, axis=1)
    r_i, r_f, r_c, r_o = np.split(weights["recurrent_kernel"], 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(weights["bias"], 4)
    p_i, p_f, p_o = weights["peepholes"]
    i = sigmoid(x @ w_i + h @ r_i + p_i * c + b_i)
    f = sigmoid(x @ w_f + h @ r_f + p_f * c + b_f)
    c = f * c + i * np.tanh(x @ w_c + h @ r_c + b_c)
    o = sigmoid(x @ w_o + h @ r_o + p_o * c + b_o)
    return [o * np.tanh(c), c]


def layer_norm(values: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Ba, Kiros and Hinton 2016, equation 4; 0.001 is added to the variance."""
    centered = values - values.mean(axis=1, keepdims=True)
    return np.asarray(gain * centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-3) + shift)


def hyperlstm_step(x: np.ndarray, states: States, weights: Weights) -> States:
    """Ha et al. 2016, equations 10 to 13; the embeddings of equation 11 are computed from the new output of the small LSTM."""
    h, c, h_hat, c_hat = states
    x_hat = np.concatenate([h, x], axis=1)
    update: dict[str, np.ndarray] = {}
    w_x, w_h, b = (np.split(weights[f"hyper_{name}"], 4, axis=-1) for name in ("kernel", "recurrent_kernel", "bias"))
    gain, shift = (np.split(weights[f"hyper_update_{name}"], 4) for name in ("gain", "shift"))
    for y, name in enumerate("ifgo"):
        update[name] = layer_norm(h_hat @ w_h[y] + x_hat @ w_x[y] + b[y], gain[y], shift[y])
    c_hat = sigmoid(update["f"]) * c_hat + sigmoid(update["i"]) * np.tanh(update["g"])
    normalized = layer_norm(c_hat, weights["hyper_update_cell_gain"], weights["hyper_update_cell_shift"])
    h_hat = sigmoid(update["o"]) * np.tanh(normalized)

    z_kernels = np.split(weights["scale_embedding_kernel"], 8, axis=1)
    z_biases = np.split(weights["scale_embedding_bias"], 8)
    z_b_kernels = np.split(weights["bias_embedding_kernel"], 4, axis=1)
    w_x, w_h, b = (np.split(weights[name], 4, axis=-1) for name in ("kernel", "recurrent_kernel", "bias"))
    gain, shift = (np.split(weights[f"update_{name}"], 4) for name in ("gain", "shift"))
    for y, name in enumerate("ifgo"):
        d_h = (h_hat @ z_kernels[y] + z_biases[y]) @ weights["scale_kernel"][y]
        d_x = (h_hat @ z_kernels[4 + y] + z_biases[4 + y]) @ weights["scale_kernel"][4 + y]
        b_y = (h_hat @ z_b_kernels[y]) @ weights["bias_kernel"][y] + b[y]
        update[name] = layer_norm(d_h * (h @ w_h[y]) + d_x * (x @ w_x[y]) + b_y, gain[y], shift[y])
    c = sigmoid(update["f"]) * c + sigmoid(update["i"]) * np.tanh(update["g"])
    h = sigmoid(update["o"]) * np.tanh(layer_norm(c, weights["update_cell_gain"], weights["update_cell_shift"]))
    return [h, c, h_hat, c_hat]


def feedback_step(x: np.ndarray, states: States, weights: Weights) -> States:
    """Chung et al. 2015, section 3, LSTM units, with biases; the states are h and c of each layer."""
    outputs, units = states[::2], states[0].shape[1]
    all_outputs = np.concatenate(outputs, axis=1)
    next_states: States = []
    for j, (h, c) in enumerate(zip(outputs, states[1::2], strict=True)):
        w = {name.removeprefix(f"layer_{j}_"): value for name, value in weights.items() if name.startswith(f"layer_{j}_")}
        w_i, w_f, w_c, w_o = np.split(w["kernel"], 4, axis=1)
        u_i, u_f, u_o = np.split(w["recurrent_kernel"], 3, axis=1)
        b_i, b_f, b_c, b_o = np.split(w["bias"], 4)
        feedback = np.zeros_like(h)
        for i, (other, u) in enumerate(zip(outputs, np.split(w["feedback_kernel"], len(outputs)), strict=True)):
            w_g, u_g = w["reset_kernel"][: x.shape[1], i], w["reset_kernel"][x.shape[1] :, i]
            reset = sigmoid(x @ w_g + all_outputs @ u_g + w["reset_bias"][i])
            feedback += reset[:, np.newaxis] * (other @ u)
        c = sigmoid(x @ w_f + h @ u_f + b_f) * c + sigmoid(x @ w_i + h @ u_i + b_i) * np.tanh(x @ w_c + feedback + b_c)
        x = sigmoid(x @ w_o + h @ u_o + b_o) * np.tanh(c)
        assert x.shape[1] == units
        next_states += [x, c]
    return next_states


CELLS: dict[str, tuple[Callable[..., keras.layers.Layer], Step]] = {
    "mlstm": (lambda **settings: MultiplicativeLSTMCell(4, **settings), mlstm_step),
    "peephole": (lambda **settings: PeepholeLSTMCell(4, **settings), peephole_step),
    "hyperlstm": (lambda **settings: HyperLSTMCell(4, 3, 2, **settings), hyperlstm_step),
    "feedback": (lambda **settings: GatedFeedbackLSTMCell(4, 3, **settings), feedback_step),
}


def built_layer(name: str, **settings: str) -> keras.layers.RNN:
    """A layer with the initial weights of a cell that reads rows of 5 values."""
    layer = keras.layers.RNN(CELLS[name][0](**settings), return_sequences=True, **settings)
    layer(tf.zeros((1, 1, 5), layer.compute_dtype))
    return layer


def randomize_weights(cell: keras.layers.Layer) -> None:
    random = np.random.default_rng(3)
    cell.set_weights([random.normal(size=weight.shape) for weight in cell.weights])


def weights_by_name(cell: keras.layers.Layer) -> Weights:
    """The weights of a cell; the names of those of its layers begin with the name of the layer."""
    return {weight.path.removeprefix(f"{cell.path}/").replace("/", "_"): weight.numpy().astype(float) for weight in cell.weights}


@pytest.mark.parametrize("name", CELLS)
def test_cell_computes_the_equations_of_its_paper(name: str) -> None:
    layer = built_layer(name)
    randomize_weights(layer.cell)
    weights = weights_by_name(layer.cell)
    random = np.random.default_rng(4)
    rows = random.normal(size=(2, 6, 5)).astype(np.float32)
    states = [random.normal(size=(2, size)).astype(np.float32) for size in layer.cell.state_size]
    expected: list[np.ndarray] = [state.astype(float) for state in states]
    outputs = layer(rows, initial_state=states)
    for step, row in enumerate(np.moveaxis(rows, 1, 0)):
        output, states = layer.cell(row, states)
        expected = CELLS[name][1](row, expected, weights)
        for state, expected_state in zip(states, expected, strict=True):
            assert np.allclose(state, expected_state, atol=1e-5)
        last = expected[-2] if name == "feedback" else expected[0]
        assert np.allclose(output, last, atol=1e-5)
        assert np.allclose(outputs[:, step], last, atol=1e-5), "a window is read like its rows"


@pytest.mark.parametrize("name", CELLS)
def test_gradient_of_a_cell_is_the_slope_of_its_output(name: str) -> None:
    """With respect to all weights, the rows and the states, along a random direction."""
    layer = built_layer(name, dtype="float64")
    randomize_weights(layer.cell)
    random = np.random.default_rng(5)
    rows = tf.constant(random.normal(size=(2, 4, 5)))
    states = [tf.constant(random.normal(size=(2, size))) for size in layer.cell.state_size]
    projection = random.normal(size=(2, 4, layer.cell.units))
    point = [rows, *states, *(tf.convert_to_tensor(weight) for weight in layer.cell.weights)]
    direction = [random.normal(size=tensor.shape) for tensor in point]

    def value(shift: float) -> float:
        rows, *rest = [tensor + shift * slope for tensor, slope in zip(point, direction, strict=True)]
        for weight, shifted in zip(layer.cell.weights, rest[len(states) :], strict=True):
            weight.assign(shifted)
        return float(tf.reduce_sum(layer(rows, initial_state=rest[: len(states)]) * projection))

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    value(0.0)
    with tf.GradientTape() as tape:
        tape.watch([rows, *states])
        output = tf.reduce_sum(layer(rows, initial_state=states) * projection)
    gradients = tape.gradient(output, [rows, *states, *(weight.value for weight in layer.cell.weights)])
    expected = sum(np.sum(gradient * part) for gradient, part in zip(gradients, direction, strict=True))
    assert slope == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "biases"), [("mlstm", "bias"), ("peephole", "bias"), ("hyperlstm", "update_shift"), ("feedback", "layer_2_bias")]
)
def test_forget_gates_are_open_at_first(name: str, biases: str) -> None:
    assert weights_by_name(built_layer(name).cell)[biases].tolist() == [0] * 4 + [1] * 4 + [0] * 8


def test_peephole_cell_starts_as_an_lstm() -> None:
    cell = PeepholeLSTMCell(4)
    rows = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)
    layer, lstm = keras.layers.RNN(cell), keras.layers.LSTM(4)
    layer(rows), lstm(rows)
    lstm.set_weights([cell.kernel, cell.recurrent_kernel, cell.bias])
    assert np.allclose(layer(rows), lstm(rows), atol=1e-6)


def test_hyperlstm_cell_starts_with_weights_scaled_by_a_tenth() -> None:
    """Appendix A.2.3 of Ha et al. 2016: the smaller LSTM has no effect at first."""
    cell = HyperLSTMCell(4, 3, 2)
    random = np.random.default_rng(3)
    row, h, c = random.normal(size=(2, 5)), random.normal(size=(2, 4)), random.normal(size=(2, 4))
    for hyper_state in (np.zeros((2, 3)), random.normal(size=(2, 3))):
        output, _ = cell(row, [h, c, hyper_state, hyper_state])
        gates = 0.1 * (row @ cell.kernel.numpy() + h @ cell.recurrent_kernel.numpy())
        i, f, g, o = (layer_norm(gate, np.ones(4), np.zeros(4)) for gate in np.split(gates, 4, axis=1))
        new_c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        assert np.allclose(output, sigmoid(o) * np.tanh(layer_norm(new_c, np.ones(4), np.zeros(4))), atol=1e-5)
