"""The base class of calibrated models."""

import abc
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import mask_of, with_mask
from nllfit.ensembles import Ensemble
from nllfit.evaluation.class_probabilities import class_log_probs
from nllfit.evaluation.predicted_rows import PredictedRows, predicted_rows
from nllfit.families.discreteness import is_discrete
from nllfit.families.law import law_of
from nllfit.families.support_checks import checked
from nllfit.families.support_ends import is_circular
from nllfit.families.tfp_classes import INDEPENDENT
from nllfit.head_outputs import as_distribution, output_like
from nllfit.laplace_posterior import Laplace
from nllfit.prediction import predict_distribution
from nllfit.saved_models import load_model, new_folder

__all__ = ["Calibrated", "real_elements", "rows_for_calibration", "with_event_of"]


_MAP_FILE = "calibration.json"


class Calibrated(abc.ABC):
    """A model, and a map that corrects the distributions that the model predicts.

    `predict_distribution`, `evaluate` and other functions of `nllfit` accept a calibrated model in place of the model.

    A call returns an object of the type that the model returns: in Keras 2 a distribution, in Keras 3 a prediction with
    the attribute `distribution`.

    Attributes:
      model: an `Ensemble`, a `Laplace`, another calibrated model, or a Keras 2 or Keras 3 model that ends in one head.
    """

    def __init__(self, model: Any):
        self.model = model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor as values for JSON. The model is not included."""

    @abc.abstractmethod
    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        """Maps a predicted distribution to the calibrated one, which has the same batch and event shape."""

    @property
    def output_names(self) -> list[str]:
        """The names of the model's outputs, as in Keras."""
        return self.model.output_names

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Returns the calibrated distribution at inputs `x`, in the form in which the model returns distributions."""
        output = self.model(x, training=training)
        distribution = self.calibrate(as_distribution(output, "The model's output"))
        return output_like(output, distribution, law_of(distribution).central_value())

    def predict_distribution(self, x: Any, batch_size: int = 32) -> tfd.Distribution:
        """Returns the calibrated distributions of all rows. For the arguments, see `nllfit.predict_distribution`."""
        predicted = predict_distribution(self.model, x, batch_size)
        return with_mask(self.calibrate(predicted), mask_of(predicted))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the model and the arguments of the map to a new or empty folder.

        Raises:
          ValueError: if the folder is not empty.
        """
        config = {"class": type(self).__name__} | self.get_config()
        is_keras = not hasattr(self.model, "predict_distribution")
        with new_folder(folder) as path:
            (path / _MAP_FILE).write_text(json.dumps(config))
            self.model.save(path / ("model.keras" if is_keras else "model"))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Calibrated":
        """Loads the model from a folder that `save` wrote, also in another process.

        Keras loads the files in safe mode, which runs no code from a file.

        Raises:
          ValueError: if the folder does not exist, or contains a model of another class or a damaged file.
        """
        folder = pathlib.Path(folder)
        try:
            config = json.loads((folder / _MAP_FILE).read_text())
            name = config.pop("class")
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ValueError(
                f"`folder` {folder} has no complete {_MAP_FILE}: name a folder that `save` wrote."
            ) from None
        kinds = {kind.__name__: kind for kind in Calibrated.__subclasses__() if issubclass(kind, cls)}
        if not isinstance(name, str) or name not in kinds:
            raise ValueError(f"`folder` {folder} contains a {name}: load it with `{name}.load`.")
        try:
            return kinds[name](_model_in(folder), **config)
        except TypeError as error:
            raise ValueError(f"`folder` {folder} has a damaged {_MAP_FILE}: {error}. Save the model again.") from None


def _model_in(folder):
    if (folder / "model.keras").exists():
        return load_model(folder / "model.keras")
    inner_folder, loaders = folder / "model", {_MAP_FILE: Calibrated.load, Laplace.file: Laplace.load}
    return next((load for file, load in loaders.items() if (inner_folder / file).exists()), Ensemble.load)(inner_folder)


def rows_for_calibration(model: Model, x: Any, y: ArrayLike | None, batch_size: int) -> PredictedRows:
    """Returns the predictions and the outcomes of held-out rows.

    Raises the errors of `nllfit.evaluate`, and a `TypeError` if `model` is a distribution.
    """
    if hasattr(model, "log_prob"):
        raise TypeError("`model` is a distribution, which cannot predict new rows: give the model that predicts it.")
    return predicted_rows(model, x, y, batch_size)


def real_elements(distribution: tfd.Distribution, or_counts: bool = False) -> tfd.Distribution:
    """Returns the scalar distributions of an outcome's elements.

    Raises:
      ValueError: if the elements are not independent real numbers. With `or_counts`, they may also be counts.
    """
    if law_of(distribution).latent() is not distribution:
        raise ValueError(
            f"`model` predicts a {distribution.name}, whose outcomes are intervals or come with a window, so the error "
            f"of a prediction is unknown: give a model whose outcomes are numbers, and rows whose outcomes are known "
            f"exactly."
        )
    shape = tuple(distribution.event_shape)
    independent = isinstance(distribution, INDEPENDENT) or distribution.event_shape.num_elements() == 1
    elements = law_of(distribution).marginals() if independent else None
    fault = ""
    if elements is None:
        fault = "depend on each other"
    elif class_log_probs(distribution) is not None:
        fault = "are classes, whose probabilities are for `nllfit.scale_temperature`"
    elif is_discrete(elements) and not or_counts:
        fault = "are counts, whose intervals are for `nllfit.conformalize`"
    elif law_of(elements).atoms is not None:
        fault = "have a probability at 0 and a density above 0: give a model of the amounts above 0, and their rows"
    elif is_circular(elements):
        fault = "are angles, which have no largest and no smallest value"
    if fault:
        raise ValueError(
            f"`model` predicts a {distribution.name} of outcomes of shape {shape}, which {fault}. This calibration is "
            f"for real outcomes with one element or several independent ones, as a Normal head has."
        )
    return elements


def with_event_of(
    distribution: tfd.Distribution, elements: tfd.Distribution, make: Callable[..., tfd.Distribution], *knots: Any
) -> tfd.Distribution:
    """Returns the calibrated distribution `make(elements, *knots)`.

    `elements` are the scalar distributions of the elements of an outcome, and `knots` are the tensors that define the
    correction. The event shape and `validate_args` of the result are those of `distribution`.
    """
    checks, rank = distribution.validate_args, distribution.event_shape.rank
    calibrated = make(checked(elements) if checks else elements, *knots)
    return tfd.Independent(calibrated, rank, validate_args=checks) if rank else calibrated
