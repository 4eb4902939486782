"""The networks, by the names that the configuration gives the models.

Number of parameters with the 64 units of the 2021 report: base 104,963 and gru 89,667, as in that report; rnn 58,499, stacked
137,987, bidirectional 178,243, mlstm 120,387, peephole 105,155, hyperlstm 126,147, feedback 147,177, split 79,177, pair 140,873.
joint has 82,818 with its 48 units and 53 keys in use.
"""

from collections.abc import Callable
from functools import partial

from pianogen.config import Config
from pianogen.models.bodies import (
    Bidirectional,
    LayerFactory,
    Unidirectional,
    feedback,
    gru,
    hyperlstm,
    lstm,
    mlstm,
    peephole,
    rnn,
)
from pianogen.models.features import Features
from pianogen.models.joint.network import Joint, joint_model
from pianogen.models.network import Network
from pianogen.models.recurrent import Recurrent
from pianogen.models.state_head import StateHead
from pianogen.models.vector_head import VectorHead
from pianogen.roll import NUM_KEYS, STEPS_PER_QUARTER


def build(config: Config, keys: range, steps_per_quarter: int = STEPS_PER_QUARTER) -> Network:
    """Builds a network with initial weights; must be called in the scope of the strategy and with the precision of its training.

    Args:
        keys: the keys of the train split, from the lowest to the highest one; the joint model computes nothing for others.
        steps_per_quarter: steps of a quarter note in the store; only the joint model reads bar positions.
    """
    return _joint(config, keys, steps_per_quarter) if config.model.is_joint else REPORT_NETWORKS[config.model.name](config)


def _unidirectional(layer: LayerFactory, config: Config, num_layers: int | None = None) -> Network:
    model = config.model
    num_layers = num_layers or model.num_layers
    body = Unidirectional(Features(silence=model.silence), layer, model.units, num_layers, config.predicts_every_row)
    return Recurrent(config, [body], VectorHead(model, *_loss(config)))


def _hyperlstm(config: Config) -> Network:
    return _unidirectional(hyperlstm(config.model.hyper_units, config.model.hyper_embedding), config)


def _feedback(config: Config) -> Network:
    return _unidirectional(feedback(config.model.num_layers), config, num_layers=1)


def _bidirectional(config: Config) -> Network:
    model = config.model
    body = Bidirectional(Features(silence=model.silence), model.units, config.data.window_steps)
    return Recurrent(config, [body], VectorHead(model, *_loss(config)))


def _split(config: Config) -> Network:
    body = Unidirectional(Features(), lstm, config.model.units, 1, config.predicts_every_row)
    return Recurrent(config, [body], StateHead(*_loss(config)))


def _pair(config: Config) -> Network:
    """Separate bodies for keys and tempo, as the 2021 report proposes; the body of the keys does not read the tempo."""
    units, every_row = config.model.units, config.predicts_every_row
    keys = Unidirectional(Features(tempo=False), lstm, units, 1, every_row, name="keys_body")
    tempo = Unidirectional(Features(), lstm, units, 1, every_row, name="tempo_body")
    return Recurrent(config, [keys, tempo], StateHead(*_loss(config)))


def _joint(config: Config, keys: range, steps_per_quarter: int) -> Network:
    transpose = config.data.transpose
    used = range(max(0, keys.start - transpose), min(NUM_KEYS, keys.stop + transpose))
    return Joint(joint_model(config.model, used, steps_per_quarter, config.training.dropout))


def _loss(config: Config) -> tuple[str, float]:
    return config.training.loss or config.model.default_loss, config.training.loss_weight


REPORT_NETWORKS: dict[str, Callable[[Config], Network]] = {
    "base": partial(_unidirectional, lstm),
    "gru": partial(_unidirectional, gru),
    "rnn": partial(_unidirectional, rnn),
    "stacked": partial(_unidirectional, lstm),
    "mlstm": partial(_unidirectional, mlstm),
    "peephole": partial(_unidirectional, peephole),
    "hyperlstm": _hyperlstm,
    "feedback": _feedback,
    "bidirectional": _bidirectional,
    "split": _split,
    "pair": _pair,
}
