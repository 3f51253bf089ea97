"""Checks of the arguments of `standard_errors` and `laplace`, before any computation."""

import functools
from collections.abc import Sequence
from typing import Any

from nllfit.adapters import Model
from nllfit.adapters.keras_models import variable_of
from nllfit.data_checks import rows_of
from nllfit.families.family_base import ParametricFamily
from nllfit.head_outputs import distribution_of
from nllfit.model_inputs import float_dtype
from nllfit.training.batches import checked_arrays
from nllfit.training.failures import first_not_finite
from nllfit.training.outcome_support import outcome_check

__all__ = ["check_size", "check_size_of", "checked"]

_MAX_WEIGHTS = 2000  # the Hessian of a larger model takes too long
_FREEZE, _ENSEMBLE = "freeze some layers (`layer.trainable = False`)", "an `nllfit.Ensemble` for the uncertainty"


def checked(model: Model, x: Any, y: Any, sample_weight: Any = None) -> tuple[tuple, ParametricFamily]:
    """Returns the data as a tuple of tensors, and the family of the model's only head.

    Raises:
      TypeError, ValueError: for data that `fit_lbfgs` refuses, for a model that does not end in exactly one head, and
        for a model with a weight that is not finite.
    """
    if layer := first_not_finite(model):
        raise ValueError(f"The layer `{layer}` has a weight that is not finite: train the model again.")
    check = functools.partial(outcome_check, model)
    data = checked_arrays(x, y, sample_weight, check=check, floatx=float_dtype(model), reader="the likelihood")
    output = model(rows_of(data[0], 0, 1), training=False)
    if isinstance(output, (list, tuple, dict)):
        problem = (
            f"has {len(output)} outputs" if len(output) > 1 else f"returns its output in a {type(output).__name__}"
        )
        raise ValueError(f"The model {problem}: give a model whose output is that of one head.")
    origin = getattr(distribution_of(output), "origin", None)
    if origin is None:
        raise ValueError(
            "The model does not end in a head, so it has no likelihood: add one, such as `heads.Normal()`."
        )
    return data, origin.family


def check_size(weights: Sequence, owner: str = "The model", advice: str = f"{_FREEZE}, or use {_ENSEMBLE}") -> None:
    """Raises a `ValueError` if there are no weights, or too many for a covariance.

    Args:
      weights: the weights.
      owner: the name of the model or layer that has the weights, for messages.
      advice: what to do if there are too many.
    """
    size = sum(variable_of(w).shape.num_elements() for w in weights)
    if not size:
        raise ValueError(f"{owner} has no trainable weights, so there are no standard errors to compute.")
    if size > _MAX_WEIGHTS:
        raise ValueError(
            f"{owner} has {size} trainable weights, but standard errors are computed for at most {_MAX_WEIGHTS}: "
            f"{advice}."
        )


def check_size_of(layers: str, weights: Sequence) -> None:
    """Raises a `ValueError` if `laplace` chooses no weights, or too many. `layers` is the argument of `laplace`."""
    if layers == "last":
        check_size(weights, "The last layer", f"give the layer before it fewer units, or use {_ENSEMBLE}")
    else:
        check_size(weights, advice=f'{_FREEZE}, or give `layers="last"`')
