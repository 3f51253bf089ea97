"""A calibrated model: one whose predicted distributions are mapped, called like the model."""

import abc
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.ensembles import Ensemble, load_model, new_folder
from nllfit.evaluation.class_probabilities import class_log_probs
from nllfit.evaluation.held_out import HeldOut, held_out
from nllfit.families.bounds import checked
from nllfit.families.center import central_value
from nllfit.families.discreteness import is_discrete
from nllfit.families.inflated import InflatedDistribution
from nllfit.families.kinds import INDEPENDENT
from nllfit.families.marginals import latent, marginals
from nllfit.kerases import Model, as_distribution, mask_of, output_like, with_mask
from nllfit.prediction import predict_distribution

__all__ = ["Calibrated", "real_elements", "remade_as", "rows_for_calibration"]


_MAP = "calibration.json"


class Calibrated(abc.ABC):
    """A model with a map of its distributions behind it, which `predict_distribution` and `evaluate` take in its place.

    Called, it returns what its model returns: in tf_keras a distribution, in Keras 3 the prediction that carries it.

    Attributes:
      model: a model of either Keras that ends in one head, an `Ensemble`, or another calibrated model.
    """

    def __init__(self, model: Any):
        self.model = model

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor beside the model, as JSON takes them."""

    @abc.abstractmethod
    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        """The calibrated distribution in place of one that the model predicts, of the same batch and event."""

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The calibrated distribution at inputs `x`, in the form that the model returns."""
        output = self.model(x, training=training)
        distribution = self.calibrate(as_distribution(output, "The model's output"))
        return output_like(output, distribution, central_value(distribution))

    def predict_distribution(self, x: Any, batch_size: int = 32) -> tfd.Distribution:
        """The calibrated distribution of every row: what `nllfit.predict_distribution` returns."""
        predicted = predict_distribution(self.model, x, batch_size)
        return with_mask(self.calibrate(predicted), mask_of(predicted))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the model, and the numbers of the map, to a new or empty folder.

        Raises:
          ValueError: if the folder holds something.
        """
        folder = new_folder(folder)
        config = {"class": type(self).__name__} | self.get_config()
        (folder / _MAP).write_text(json.dumps(config))
        is_more = hasattr(self.model, "predict_distribution")  # than one model of Keras
        self.model.save(folder / ("model" if is_more else "model.keras"))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Calibrated":
        """The calibrated model that `save` wrote, in any process; in Keras's safe mode, which runs no code of a file's.

        Raises:
          ValueError: if there is no such folder, it holds a model of another class, or a broken file.
        """
        folder = pathlib.Path(folder)
        try:
            config = json.loads((folder / _MAP).read_text())
            name = config.pop("class")
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ValueError(f"`folder` {folder} holds no whole {_MAP}: name one that `save` wrote.") from None
        kinds = {kind.__name__: kind for kind in Calibrated.__subclasses__() if issubclass(kind, cls)}
        if name not in kinds:
            raise ValueError(f"`folder` {folder} holds a {name}: load it by `{name}.load`.")
        return kinds[name](_model_in(folder), **config)


def _model_in(folder):
    if (folder / "model.keras").exists():
        return load_model(folder / "model.keras")
    inner = folder / "model"
    return Calibrated.load(inner) if (inner / _MAP).exists() else Ensemble.load(inner)


def rows_for_calibration(model: Model, x: Any, y: ArrayLike | None, batch_size: int) -> HeldOut:
    """What `model` predicts for held-out rows beside the outcomes; `ValueError` or `TypeError` as `nllfit.evaluate`."""
    if hasattr(model, "log_prob"):
        raise TypeError(
            "`model` is a distribution: give the model that predicts it, whose predictions for new rows are calibrated."
        )
    return held_out(model, x, y, batch_size)


def real_elements(distribution: tfd.Distribution, or_counts: bool = False) -> tfd.Distribution:
    """The scalar distributions of the elements of an outcome that are real and independent; else a `ValueError`.

    With `or_counts` they may be counts, but no classes.
    """
    if latent(distribution) is not distribution:
        raise ValueError(
            f"`model` predicts by {distribution.name}, whose outcomes are intervals or come with a window: nobody "
            f"knows how far a prediction is from them. Calibrate a model of the numbers on rows that were seen exactly."
        )
    shape = tuple(distribution.event_shape)
    independent = isinstance(distribution, INDEPENDENT) or distribution.event_shape.num_elements() == 1
    elements = marginals(distribution) if independent else None
    parts = getattr(elements, "components_distribution", elements)
    if isinstance(parts, InflatedDistribution) and not is_discrete(parts):
        raise ValueError(
            f"`model` predicts by {distribution.name}, which has a point at 0 beside a density: what is calibrated "
            f"here has one or the other. Give a model of the amounts above 0, on the rows that have one."
        )
    fault = ""
    if elements is None:
        fault = "depend on each other"
    elif class_log_probs(distribution) is not None:
        fault = "are classes, whose probabilities are for `nllfit.scale_temperature`"
    elif is_discrete(elements) and not or_counts:
        fault = "are counts, whose intervals are for `nllfit.conformalize`"
    if fault:
        raise ValueError(
            f"`model` predicts by {distribution.name} outcomes of shape {shape}, which {fault}. What is calibrated "
            f"here are real outcomes of one element, or of several that are independent, as of a Normal head."
        )
    return elements


def remade_as(
    distribution: tfd.Distribution, elements: tfd.Distribution, make: Callable[..., tfd.Distribution], *knots: Any
) -> tfd.Distribution:
    """`make(elements, *knots)` with the event of the distribution whose elements they are, checking where it did."""
    checks, rank = distribution.validate_args, distribution.event_shape.rank
    remade = make(checked(elements) if checks else elements, *knots)
    return tfd.Independent(remade, rank, validate_args=checks) if rank else remade
