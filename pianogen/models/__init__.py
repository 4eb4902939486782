"""The models, by the names that the configuration gives them.

Number of parameters with the 64 units of the report: base 104,963 and gru 89,667, as in the report; rnn 58,499, stacked 137,987,
bidirectional 178,243, mlstm 120,387, peephole 105,155, split 79,177, pair 140,873.
"""

from collections.abc import Callable
from functools import partial

from pianogen.config import ModelConfig, TrainingConfig
from pianogen.models.bodies import Bidirectional, LayerFactory, Unidirectional, gru, lstm, mlstm, peephole, rnn
from pianogen.models.features import Features
from pianogen.models.joint.network import Joint
from pianogen.models.network import Network
from pianogen.models.recurrent import Recurrent
from pianogen.models.state_head import StateHead
from pianogen.models.vector_head import VectorHead
from pianogen.roll import NUM_KEYS


def build(model: ModelConfig, training: TrainingConfig, window_steps: int, keys: range = range(NUM_KEYS)) -> Network:
    """Builds a network with initial weights; must be called in the scope of the strategy and with the precision of its training.

    Args:
        training: only loss, loss_weight, predict and dropout are used.
        window_steps: number of rows of a window.
        keys: the keys that the train split uses, for networks that compute nothing for others.
    """
    return NETWORKS[model.name](model, training, window_steps, keys)


def _unidirectional(
    layer: LayerFactory, model: ModelConfig, training: TrainingConfig, window_steps: int, _keys: range
) -> Network:
    every_row = training.predict == "every"
    num_layers = model.layers or (2 if model.name == "stacked" else 1)
    body = Unidirectional(Features(silence=model.silence), layer, model.num_units, num_layers, every_row)
    return Recurrent(model.name, [body], VectorHead(model, *_loss(model, training)), window_steps, every_row)


def _bidirectional(model: ModelConfig, training: TrainingConfig, window_steps: int, _keys: range) -> Network:
    body = Bidirectional(Features(silence=model.silence), model.num_units, window_steps)
    return Recurrent(model.name, [body], VectorHead(model, *_loss(model, training)), window_steps, every_row=False)


def _split(model: ModelConfig, training: TrainingConfig, window_steps: int, _keys: range) -> Network:
    every_row = training.predict == "every"
    body = Unidirectional(Features(), lstm, model.num_units, 1, every_row)
    return Recurrent(model.name, [body], StateHead(*_loss(model, training)), window_steps, every_row)


def _pair(model: ModelConfig, training: TrainingConfig, window_steps: int, _keys: range) -> Network:
    """Separate bodies for keys and tempo, as the report proposes; the body of the keys does not read the tempo."""
    every_row = training.predict == "every"
    keys = Unidirectional(Features(tempo=False), lstm, model.num_units, 1, every_row, name="keys_body")
    tempo = Unidirectional(Features(), lstm, model.num_units, 1, every_row, name="tempo_body")
    return Recurrent(model.name, [keys, tempo], StateHead(*_loss(model, training)), window_steps, every_row)


def _joint(model: ModelConfig, training: TrainingConfig, _window_steps: int, keys: range) -> Network:
    return Joint(model, keys, training.dropout)


def _loss(model: ModelConfig, training: TrainingConfig) -> tuple[str, float]:
    return training.loss or model.default_loss, training.loss_weight


NETWORKS: dict[str, Callable[[ModelConfig, TrainingConfig, int, range], Network]] = {
    "base": partial(_unidirectional, lstm),
    "gru": partial(_unidirectional, gru),
    "rnn": partial(_unidirectional, rnn),
    "stacked": partial(_unidirectional, lstm),
    "mlstm": partial(_unidirectional, mlstm),
    "peephole": partial(_unidirectional, peephole),
    "bidirectional": _bidirectional,
    "split": _split,
    "pair": _pair,
    "joint": _joint,
}
