"""result.json: the figures of a finished run."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from jobs.records import record_file
from jobs.records.held_out import MODEL, TRIVIAL, Measure, describe_unbeaten, find_figure
from pianogen.evaluation.memorization import Memorization


@dataclass(frozen=True, slots=True)
class Result:
    """The content of result.json; equal runs have equal results.

    Attributes:
        checkpoint: name of the last checkpoint; "none" for an ensemble.
        parameters: weights of the model.
        windows: windows of the train split; 0 for an ensemble.
        metrics: the last row of metrics.csv: epoch, iteration, loss, …, and valid_loss, … if the valid split has windows. They
            are keys of their own in the file, null if infinite or NaN. Empty for an ensemble.
        best_valid_loss: the lowest of all epochs; None without a valid split.
        constant_predictor_loss: the loss of the best constant prediction, on the train split; None for other losses than mse.
        held_out: by split, the measures of the model and of the trivial predictors, see `evaluate_held_out`, and by measure the
            trivial predictors that the model does not beat.
        samples: the metrics of each sample; see `SampleMetrics`.
        memorization: passages of the samples that also occur in the train split; None in the result of an earlier version.
    """

    checkpoint: str
    parameters: int
    windows: int
    metrics: Mapping[str, int | float]  # an epoch stays an int
    best_valid_loss: float | None
    constant_predictor_loss: float | None
    held_out: Mapping[str, Mapping[str, Any]]
    samples: list[dict[str, Any]]
    memorization: Memorization | None = None

    __pydantic_config__ = record_file.COMPLETE

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Self:
        """The result in a JSON value.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: a key is missing, or a value has another type.
        """
        fields = {name: content[name] for name in cls.__dataclass_fields__ if name not in ("metrics", "memorization")}
        metrics = {name: value for name, value in content.items() if name not in cls.__dataclass_fields__ and value is not None}
        memorization = content.get("memorization")
        fields |= {"metrics": metrics, "memorization": Memorization.parse(memorization) if memorization else None}
        result = record_file.validate(cls, fields)
        result._check_figures()
        return result

    def _check_figures(self) -> None:
        for split, measure, predictor in itertools.product(self.held_out, Measure, (MODEL, *TRIVIAL)):
            figure = self.figure(split, measure, predictor)
            if not isinstance(figure, float | int | None):
                raise TypeError(f"{measure} of {predictor} on the split {split} is {figure!r}")

    def to_json(self) -> dict[str, Any]:
        """The JSON value."""
        content: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            content |= value if name == "metrics" else {name: value}
        return content | {"memorization": self.memorization and self.memorization.as_json()}

    def figure(self, split: str, measure: Measure, predictor: str = MODEL) -> float | None:
        """A figure of the model or of a trivial predictor on a held-out split; None if not measured."""
        return find_figure(self.held_out.get(split, {}), measure, predictor)

    def unbeaten(self, split: str, measure: Measure, mean: float | None = None) -> str:
        """See `describe_unbeaten`."""
        return describe_unbeaten(self.held_out.get(split, {}), measure, mean)
