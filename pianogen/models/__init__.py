"""The networks, each by the name the configuration gives it.

Parameters with the 64 units of the report: base 104,963 and gru 89,667 as there; rnn 58,499, stacked 137,987,
bidirectional 178,243, mlstm 120,387, peephole 105,155, split 79,177, pair 140,873.
"""

from collections.abc import Callable
from functools import partial

from pianogen.config import ModelConfig, TrainingConfig
from pianogen.models.body import Bidirectional, Carried, Kind, gru, lstm, mlstm, peephole, rnn
from pianogen.models.features import Features
from pianogen.models.heads import Heads
from pianogen.models.network import Network
from pianogen.models.recurrent import Recurrent
from pianogen.models.vector import Vector


def build(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
    """A network with fresh weights; inside the scope of the strategy, and under the precision, that trains it.

    Args:
        training: its loss, loss_weight and predict.
        window_steps: rows of a window, for a network that can read nothing but windows.
    """
    return NETWORKS[model.name](model, training, window_steps)


def _one_vector(kind: Kind, model: ModelConfig, training: TrainingConfig, _window_steps: int) -> Network:
    every = training.predict == "every"
    num_layers = model.layers or (2 if model.name == "stacked" else 1)
    carried = Carried(Features(silence=model.silence), kind, model.units, num_layers, every)
    return Recurrent(model.name, [carried], Vector(model, *_loss(model, training)), every)


def _bidirectional(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
    both_ways = Bidirectional(Features(silence=model.silence), model.units, window_steps)
    return Recurrent(model.name, [both_ways], Vector(model, *_loss(model, training)), every=False)


def _split(model: ModelConfig, training: TrainingConfig, _window_steps: int) -> Network:
    every = training.predict == "every"
    shared = Carried(Features(), lstm, model.units, 1, every)
    return Recurrent(model.name, [shared], Heads(*_loss(model, training)), every)


def _pair(model: ModelConfig, training: TrainingConfig, _window_steps: int) -> Network:
    """As the report proposes, the keys' network reads no tempo."""
    every = training.predict == "every"
    keys = Carried(Features(tempo=False), lstm, model.units, 1, every, name="keys_body")
    tempo = Carried(Features(), lstm, model.units, 1, every, name="tempo_body")
    return Recurrent(model.name, [keys, tempo], Heads(*_loss(model, training)), every)


def _loss(model: ModelConfig, training: TrainingConfig) -> tuple[str, float]:
    return training.loss or model.default_loss, training.loss_weight


NETWORKS: dict[str, Callable[[ModelConfig, TrainingConfig, int], Network]] = {
    "base": partial(_one_vector, lstm),
    "gru": partial(_one_vector, gru),
    "rnn": partial(_one_vector, rnn),
    "stacked": partial(_one_vector, lstm),
    "mlstm": partial(_one_vector, mlstm),
    "peephole": partial(_one_vector, peephole),
    "bidirectional": _bidirectional,
    "split": _split,
    "pair": _pair,
}
