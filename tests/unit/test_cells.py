"""The recurrent cells of this package compute the equations of their papers."""

import keras
import numpy as np
import pytest

from pianogen.models.mlstm import MultiplicativeLSTMCell
from pianogen.models.peephole import PeepholeLSTMCell


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize("cell", [MultiplicativeLSTMCell(4), PeepholeLSTMCell(4)], ids=["mlstm", "peephole"])
def test_cell_computes_the_equations_of_its_paper(cell: keras.layers.Layer) -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(2, 6, 5)).astype(np.float32)
    layer = keras.layers.RNN(cell, return_sequences=True)
    layer(rows)
    assert cell.bias.numpy().tolist() == [0] * 4 + [1] * 4 + [0] * 8  # the forget gate
    cell.set_weights([random.normal(size=weight.shape) for weight in cell.weights])
    weights = {weight.name: weight.numpy().astype(float) for weight in cell.weights}
    reference = reference_mlstm if "product_kernel" in weights else reference_peephole
    assert np.allclose(layer(rows).numpy(), reference(rows, **weights), atol=1e-5)


def reference_mlstm(
    rows: np.ndarray, kernel: np.ndarray, product_kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Krause et al. 2016, equations 15 to 20, with biases."""
    w_ix, w_fx, w_hx, w_ox, w_mx = np.split(kernel, 5, axis=1)
    w_im, w_fm, w_hm, w_om = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_h, b_o = np.split(bias, 4)
    h = c = np.zeros((len(rows), len(product_kernel)))
    outputs = []
    for x in np.moveaxis(rows, 1, 0):
        m = (x @ w_mx) * (h @ product_kernel)
        h_hat = x @ w_hx + m @ w_hm + b_h
        i, f, o = sigmoid(x @ w_ix + m @ w_im + b_i), sigmoid(x @ w_fx + m @ w_fm + b_f), sigmoid(x @ w_ox + m @ w_om + b_o)
        c = f * c + i * np.tanh(h_hat)
        h = np.tanh(c) * o
        outputs.append(h)
    return np.stack(outputs, axis=1)


def reference_peephole(
    rows: np.ndarray, kernel: np.ndarray, recurrent_kernel: np.ndarray, peepholes: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Gers and Schmidhuber 2000, with one cell per block."""
    w_i, w_f, w_c, w_o = np.split(kernel, 4, axis=1)
    r_i, r_f, r_c, r_o = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    p_i, p_f, p_o = peepholes
    h = c = np.zeros((len(rows), len(p_i)))
    outputs = []
    for x in np.moveaxis(rows, 1, 0):
        i = sigmoid(x @ w_i + h @ r_i + p_i * c + b_i)
        f = sigmoid(x @ w_f + h @ r_f + p_f * c + b_f)
        c = f * c + i * np.tanh(x @ w_c + h @ r_c + b_c)
        o = sigmoid(x @ w_o + h @ r_o + p_o * c + b_o)
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def test_peephole_cell_starts_as_an_lstm() -> None:
    cell = PeepholeLSTMCell(4)
    rows = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)
    layer, lstm = keras.layers.RNN(cell), keras.layers.LSTM(4)
    layer(rows), lstm(rows)
    lstm.set_weights([cell.kernel, cell.recurrent_kernel, cell.bias])
    assert np.allclose(layer(rows), lstm(rows), atol=1e-6)
