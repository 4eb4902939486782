"""The configuration of a run: what changes its result, and how often its checkpoints are written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pianogen.roll import US_PER_MINUTE
from pianogen.validation import Count, Section, matching

ModelName = Literal[
    "base", "gru", "rnn", "stacked", "bidirectional", "mlstm", "peephole", "hyperlstm", "feedback", "split", "pair", "joint"
]
FilePath = Annotated[str, matching(r"[^\x00]+", "the path of a file or folder")]
TrackerName = Annotated[str, matching(r"wandb|[\w.]+:\w+", "wandb, or package.module:Class")]
LossName = Literal["mse", "weighted_mse", "crossentropy", "weighted_crossentropy", "focal"]


# Defaults with model.name joint, where they differ from those of the sections.
_JOINT_DEFAULTS: dict[str, dict[str, Any]] = {
    "model": {"units": 48},
    "data": {"window_steps": 32},
    "training": {"batch": 8, "predict": "every", "average": 0.99, "dropout": 0.1},
    "sampling": {"threshold": None},
}
_JOINT_CLIPPING = {"clip_norm": 1.0}  # not of rprop, which uses only the sign of the gradient
_JOINT_ADAMW = {"optimizer": "adamw", "learning_rate": 0.012, "beta_2": 0.99, "weight_decay": 0.05, "warmup_iterations": 50}
_MAX_STEPS = 131_072  # of a sample, as of a piece
_DENSE_UNITS = 256  # default with model.body: dense


class ModelConfig(Section):
    """The architecture of the model.

    Attributes:
        name: "base" is the LSTM of the 2021 report (docs/report.md); "gru", "rnn", "mlstm", "peephole" and "hyperlstm"
            are the same model with a GRU, a plain recurrent layer, a multiplicative LSTM, a peephole LSTM and a HyperLSTM.
            "stacked" has several LSTM layers;
            "feedback" also has several, each of which reads the previous outputs of all layers. "bidirectional" reads a window in
            both directions. "split" has separate output heads for keys and tempo; "pair" also has a second LSTM for the tempo.
            "joint" predicts the keys of a step jointly, see docs/music.md.
        units: number of units of each recurrent layer; for "joint", the default is 48 with a tied body and 256 with a dense one.
        layers: number of recurrent layers; None means 2 for "stacked" and "feedback", and 1 for the others.
        dense_layers: number of dense layers after the recurrent ones, including the output layer; the 2021 report has 2.
        activation: activation of the output layer; only for models whose output is one vector of keys and tempo.
        silence: whether each key has a third feature and output, which is 1 where the key is silent.
        hyper_units: number of units of the smaller LSTM of "hyperlstm", which scales the weights of the larger one.
        hyper_embedding: width of each embedding from which "hyperlstm" computes the scales of the weights of one gate.
        cell: recurrent layer of "joint": lstm, gru or mlstm.
        body: body of "joint": "tied" has one recurrent layer whose weights all keys share; "dense" has one that reads all keys
            together.
        head: head of "joint": "two_stage" decides all holds before the onsets; "one_pass" decides the state of one key after the
            other.
        copy: whether "joint" reads what followed the longest match of the last steps in the piece.
        ensemble: directories of trained runs of "joint". The run trains nothing: it evaluates the mean of their logits, and draws
            samples from it.
    """

    name: ModelName = "base"
    units: Count = 64
    layers: Count | None = None
    dense_layers: Literal[1, 2] = 2
    activation: Literal["softplus", "relu", "sigmoid"] = "softplus"
    silence: bool = False
    hyper_units: Count = 16
    hyper_embedding: Count = 4
    cell: Literal["lstm", "gru", "mlstm"] = "lstm"
    body: Literal["tied", "dense"] = "tied"
    head: Literal["two_stage", "one_pass"] = "two_stage"
    copies: bool = Field(default=True, alias="copy")
    ensemble: tuple[FilePath, ...] = Field(default=(), strict=False)

    @property
    def has_state_head(self) -> bool:
        """Whether an output head predicts the state of each key; other models predict keys and tempo as one vector."""
        return self.name in ("split", "pair")

    @property
    def is_stack(self) -> bool:
        """Whether the model has more than one recurrent layer, one above the other."""
        return self.name in ("stacked", "feedback")

    @property
    def num_layers(self) -> int:
        """The number of recurrent layers, one above the other."""
        return self.layers or (2 if self.is_stack else 1)

    @property
    def default_loss(self) -> LossName:
        """The loss of the keys where `training.loss` is None."""
        return "crossentropy" if self.has_state_head else "mse"

    @property
    def is_joint(self) -> bool:
        """Whether the model predicts the keys of a step jointly; other models predict each key on its own."""
        return self.name == "joint"


class DataConfig(Section):
    """The windows that the model is trained on.

    Attributes:
        window_steps: number of input rows of a window; the model predicts the row that follows them, or the row that follows each
            of them.
        stride: number of steps between the starts of two consecutive windows of a piece, the first of which starts with the
            piece. None means 1 if only the last row is predicted. If every row is predicted, None means windows that do not
            overlap, at different steps in each epoch.
        groups: names of the groups whose pieces are used; all groups if empty.
        transpose: largest transposition of a training window in semitones, up or down; no key leaves the keyboard.
        memory_mb: limit for rows held in memory; the windows of a larger corpus are shuffled in pools of half this size.
    """

    window_steps: Count = 64
    stride: Count | None = None
    groups: tuple[str, ...] = Field(default=(), strict=False)
    transpose: int = Field(default=0, ge=0, le=11)
    memory_mb: int = Field(default=2_000, ge=20, le=10**9)


class TrainingConfig(Section):
    """The optimization; the defaults are those of the 2021 report.

    Attributes:
        batch: number of windows of a global batch, which all replicas share.
        epochs: number of passes over all windows.
        max_iterations: limit of the number of iterations; training can end within an epoch.
        optimizer: rmsprop, adam, adamw or rprop.
        learning_rate: learning rate of the optimizer; with a schedule or a warm-up, its largest value.
        beta_2: decay of the mean squared gradient of adam and adamw; None means the default of Keras, 0.999.
        weight_decay: adamw multiplies every weight by 1 - weight_decay * learning rate in each iteration (Loshchilov and Hutter
            2019); None means the default of Keras, 0.004.
        schedule: "constant", or "cosine", which lowers the learning rate to 2 % of its value until the last iteration of
            `epochs` or `max_iterations`, whichever comes first.
        warmup_iterations: number of iterations in which the learning rate rises linearly from 0.
        clip_norm: largest norm of the gradient of a global batch; a larger gradient is scaled down. None disables clipping.
        average: decay per iteration of a moving average of the weights, e.g. 0.99. The decay of iteration i, counted from 0, is
            at most (1 + i) / (10 + i). Validation, early stopping, evaluation, samples and model.keras use the averaged weights.
            None disables averaging.
        dropout: share of the units that are set to 0 in training; only for models that predict keys jointly. With dropout, the
            result depends on the number of replicas.
        loss: loss of the keys: mse (mean squared error), weighted_mse (mean squared error in which onsets and holds count
            `loss_weight` times), crossentropy, weighted_crossentropy or focal. None means the default of the model: crossentropy
            for "split" and "pair", mse for the others.
        loss_weight: weight of onsets and holds in the weighted losses.
        predict: "last" trains on the row after the window, as in the 2021 report; "every" on the row after every row of the
            window. "joint" always predicts every row.
        patience: number of epochs without a better validation loss after which training stops and restores the best weights;
            None disables early stopping.
        mixed_precision: whether the model computes in 16 bits; only for GPUs.
        seed: seed of the initial weights, of the order of windows and of dropout.
        tracker: "wandb" (Weights & Biases), or a tracker of your own as package.module:Class, beside TensorBoard; the result does
            not depend on it.
    """

    batch: Count = 64
    epochs: Count = 25
    max_iterations: Count | None = None
    optimizer: Literal["rmsprop", "adam", "adamw", "rprop"] = "rmsprop"
    learning_rate: float = Field(default=0.002, gt=0)
    beta_2: float | None = Field(default=None, gt=0, lt=1)
    weight_decay: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_iterations: int = Field(default=0, ge=0, le=10**9)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    loss: LossName | None = None
    loss_weight: float = Field(default=10.0, gt=0)
    predict: Literal["last", "every"] = "last"
    patience: Count | None = None
    mixed_precision: bool = False
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    tracker: TrackerName | None = None

    @property
    def learning_rate_varies(self) -> bool:
        """Whether the learning rate is a function of the iteration."""
        return self.schedule != "constant" or self.warmup_iterations > 0


class CheckpointConfig(Section):
    """How often checkpoints are written; the result does not depend on it.

    Attributes:
        every_iterations: number of iterations between checkpoints; None means that only `every_min` decides.
        every_min: minutes between checkpoints.
        keep: number of checkpoints that are kept.
        retry_min: minutes for which a run tries again to write a checkpoint, metrics.csv or model.keras, such as on a full disk.
    """

    every_iterations: Count | None = None
    every_min: float = Field(default=10.0, gt=0)
    keep: Count = 2
    retry_min: float = Field(default=5.0, ge=0)


class SamplingConfig(Section):
    """The samples that are drawn from the trained model.

    Attributes:
        num: number of samples.
        steps: length of a sample in steps (sixteenth notes, unless the store has other steps), at most 131,072 like a piece.
        temperature: scale of the randomness; close to 0, the most probable state of each key is drawn. Samples of "joint" thin
            out to silence below 0.8, because every single onset is less probable than none.
        top_p: each decision of "joint" draws only from its most probable outcomes: from as many as together have a probability of
            top_p (nucleus sampling, Holtzman et al. 2020), after the temperature is applied.
        threshold: rule of the models that predict each key on its own. A number is a static threshold, as in the 2021 report;
            "dynamic" computes thresholds at each step, so that samples have as many onsets and holds as the corpus. "joint" has
            no threshold, which is None.
        seed: a sample depends on this seed and on its index.
        primer: path of a MIDI file or score that the samples continue; None starts from silence.
        primer_steps: number of steps of the primer that are used, from its start; None uses all.
        meter: time signature of the samples, such as "3/4"; None continues the bars of the primer, or is 4/4 if there is no
            primer or it has no bar that a bar line ends. The bar in which the steps of the primer end is completed first.
        tempo: "drawn" from the model, or a number: the tempo of all steps in bpm.
        best_of: number of candidates that are drawn for each sample; the one with the largest likelihood per note is kept.
    """

    num: Count = 8
    steps: int = Field(default=512, ge=1, le=_MAX_STEPS)
    temperature: float = Field(default=1.0, ge=1e-30, le=1e30)  # its products and quotients are finite in 32 bits
    top_p: float = Field(default=1.0, ge=1e-30, le=1)
    threshold: Literal["dynamic"] | Annotated[float, Field(gt=0, lt=1)] | None = "dynamic"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    primer: FilePath | None = None
    primer_steps: Count | None = None
    meter: Annotated[str, matching(r"[1-9][0-9]{0,2}/(1|2|4|8|16|32|64)", "a time signature such as 3/4")] | None = None
    tempo: Literal["drawn"] | Annotated[float, Field(ge=15, le=480)] = "drawn"
    best_of: Count = 1

    @property
    def tempo_us(self) -> int | None:
        """The tempo of all steps; None if the tempo is drawn."""
        return None if self.tempo == "drawn" else round(US_PER_MINUTE / self.tempo)


class Config(Section):
    """The settings that change the result of a run, and how often its checkpoints are written.

    With model.name joint, other defaults apply: _JOINT_DEFAULTS; by optimizer, _JOINT_CLIPPING and _JOINT_ADAMW; by body,
    _DENSE_UNITS.
    """

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="before")
    @classmethod
    def _apply_joint_defaults(cls, values: Any) -> Any:
        model = values.get("model") if isinstance(values, dict) else None
        if not isinstance(model, dict) or model.get("name") != "joint":
            return values
        defaults = dict(_JOINT_DEFAULTS)
        if model.get("body") == "dense":
            defaults["model"] = {"units": _DENSE_UNITS}
        given = {name: values.get(name, {}) for name in defaults}
        optimizer = given["training"].get("optimizer", "adamw") if isinstance(given["training"], dict) else None
        if optimizer != "rprop":
            defaults["training"] = defaults["training"] | _JOINT_CLIPPING
        if optimizer == "adamw":
            defaults["training"] = defaults["training"] | _JOINT_ADAMW
        return values | {name: defaults[name] | section for name, section in given.items() if isinstance(section, dict)}

    @property
    def predicts_every_row(self) -> bool:
        """Whether training predicts every row of a window, or only the last one."""
        return self.training.predict == "every"

    def with_absolute_paths(self) -> Self:
        """The same settings; relative paths are relative to the working directory."""
        ensemble = tuple(str(Path(path).resolve()) for path in self.model.ensemble)
        primer = self.sampling.primer and str(Path(self.sampling.primer).resolve())
        return self.model_copy(
            update={
                "model": self.model.model_copy(update={"ensemble": ensemble}),
                "sampling": self.sampling.model_copy(update={"primer": primer}),
            }
        )

    def identity(self, fingerprint: str) -> str:
        """The identity of a run: a hash of every setting that changes its result, and of the store's fingerprint."""
        return _hash([self.result_settings(), fingerprint])

    def training_identity(self, fingerprint: str) -> str:
        """The identity of a training: runs of one training may differ in the samples that are drawn from it."""
        settings = self.result_settings()
        return _hash([{name: settings[name] for name in ("model", "data", "training")}, fingerprint])

    def sampling_identity(self, primer: bytes) -> str:
        """The identity of the sampling: a hash of its settings and of the content of the primer, which is empty without one."""
        return _hash([self.result_settings()["sampling"], hashlib.sha256(primer).hexdigest()])

    def result_settings(self) -> dict[str, dict[str, Any]]:
        """The sections that change the result of a run, as JSON values."""
        return self.model_dump(mode="json", include={"model", "data", "training", "sampling"}, exclude={"training": {"tracker"}})


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def hash_training(settings: Mapping[str, Any], fingerprint: str) -> str:
    """A hash of a training, from the settings that its provenance.json records and the fingerprint of its store.

    Unlike `Config.training_identity`, it does not depend on settings that a later version adds.
    """
    return _hash([*(settings[name] for name in ("model", "data", "training")), fingerprint])


def flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings by dotted key, such as `training.batch`."""
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
