"""The networks, each by the name the configuration gives it.

Parameters at the report's sizes (64 units): base 104,963, gru 89,667.
"""

from collections.abc import Callable

from pianogen.config import ModelConfig, TrainingConfig
from pianogen.features import Features
from pianogen.models import body
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


def _one_vector(kind: body.Kind) -> Callable[[ModelConfig, TrainingConfig, int], Network]:
    def build_vector(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
        del window_steps
        every = training.predict == "every"
        num_layers = model.layers or (2 if model.name == "stacked" else 1)
        carried = body.Carried(Features(silence=model.silence), kind, model.units, num_layers, every)
        return Recurrent(model.name, [carried], Vector(model, training), every)

    return build_vector


def _bidirectional(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
    both_ways = body.Bidirectional(Features(silence=model.silence), model.units, window_steps)
    return Recurrent(model.name, [both_ways], Vector(model, training), every=False)


def _split(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
    del window_steps
    every = training.predict == "every"
    both = body.Carried(Features(), body.lstm, model.units, 1, every)
    return Recurrent(model.name, [both], Heads(training), every)


def _pair(model: ModelConfig, training: TrainingConfig, window_steps: int) -> Network:
    """As the report proposes: the keys' network reads no tempo."""
    del window_steps
    every = training.predict == "every"
    keys = body.Carried(Features(tempo=False), body.lstm, model.units, 1, every, name="keys_body")
    tempo = body.Carried(Features(), body.lstm, model.units, 1, every, name="tempo_body")
    return Recurrent(model.name, [keys, tempo], Heads(training), every)


NETWORKS: dict[str, Callable[[ModelConfig, TrainingConfig, int], Network]] = {
    "base": _one_vector(body.lstm),
    "gru": _one_vector(body.gru),
    "rnn": _one_vector(body.rnn),
    "stacked": _one_vector(body.lstm),
    "mlstm": _one_vector(body.mlstm),
    "peephole": _one_vector(body.peephole),
    "bidirectional": _bidirectional,
    "split": _split,
    "pair": _pair,
}
