"""The networks, each by the name the configuration gives it."""

from pianogen.config import ModelConfig
from pianogen.models.recurrent import Recurrent

NETWORKS = {"base": Recurrent, "gru": Recurrent}


def build(config: ModelConfig) -> Recurrent:
    """A network with fresh weights; inside the scope of the strategy that trains it."""
    return NETWORKS[config.name](config)
