"""Predictions and outcomes of the same rows, and their checks."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import mask_of
from nllfit.data_checks import check_dataset, check_inputs, check_lengths
from nllfit.evaluation.row_blocks import row_blocks
from nllfit.families.arguments import as_numbers
from nllfit.families.copies import batch_rows
from nllfit.families.facts import facts_of
from nllfit.families.outcome_shapes import (
    as_column,
    as_outcomes,
    has_finite_likelihoods,
    weights_of_outcomes,
    where_counted,
)
from nllfit.families.support_checks import checked
from nllfit.head_outputs import distribution_of, refuse_estimators
from nllfit.losses import negative_log_likelihood
from nllfit.prediction import predict_distribution

__all__ = ["PredictedRows", "outputs_by_name", "predicted_rows"]


class PredictedRows(NamedTuple):
    """The predictions and outcomes of `n` rows.

    Attributes:
      distribution: the predictions, as one distribution of batch `[n, ...]`.
      y: the outcomes. Where the mask is False, an arbitrary outcome in the support replaces them.
      nll: the negative log-likelihood of each outcome, in float64.
      mask: Keras's mask `[n, ...]`, True where an outcome counts; None if all outcomes count.
    """

    distribution: tfd.Distribution
    y: np.ndarray
    nll: np.ndarray
    mask: np.ndarray | None

    def blocks(self, repeats: int) -> Iterator["PredictedRows"]:
        """Yields the rows in consecutive blocks, which `row_blocks` chooses."""
        for rows in row_blocks(self.distribution, len(self.y), repeats):
            mask = None if self.mask is None else self.mask[rows]
            yield PredictedRows(batch_rows(self.distribution, rows), self.y[rows], self.nll[rows], mask)

    def counted(self, values: Any) -> np.ndarray:
        """Selects the values of the `m` outcomes that count: `[n, ..., *more]` becomes `[m, *more]`.

        `more` stands for further axes of the values, such as the event. Without a mask, the values are unchanged.
        """
        values = np.asarray(values)
        return values if self.mask is None else values[self.mask]


def predicted_rows(model: Model | tfd.Distribution, x: Any, y: ArrayLike | None, batch_size: int = 32) -> PredictedRows:
    """Predicts the rows `x` and checks the outcomes `y`. Returns both.

    Args:
      model: a model that `predict_distribution` takes; or a distribution of batch `[n]`, if `x` is None.
      x: inputs; or a `tf.data.Dataset` of batches `(x, y)`, if `y` is None.
      y: outcomes, `[n, *event]`; for an event of one element also `[n]`.
      batch_size: the number of rows in each call of the model.

    Raises:
      TypeError, ValueError: in the cases in which `nllfit.evaluate` raises them.
    """
    is_distribution = hasattr(model, "log_prob") or tf.is_tensor(model)
    if is_distribution and x is not None:
        raise ValueError("`model` is a distribution, which needs no `x`: give the outcomes by name, `y=y`.")
    if not is_distribution and x is None:
        raise ValueError("`x` is missing: give the inputs for which the model predicts.")
    if isinstance(x, tf.data.Dataset):
        if y is not None:
            raise ValueError("`x` is a dataset of batches `(x, y)`, which needs no `y`: leave it out.")
        x, y = _joined(x)
    if y is None:
        raise ValueError("`y` is missing: give the outcomes, one for each row.")
    if not is_distribution:
        refuse_estimators(model)
        check_inputs(x)
    output = model if is_distribution else predict_distribution(model, x, batch_size)
    predicted = None if isinstance(output, (dict, list, tuple)) else distribution_of(output)
    if predicted is None:
        raise ValueError(
            "The model has no output or several. Evaluate one output at a time: give its model, "
            "`keras.Model(model.inputs, model.outputs[0])`; or give `evaluate` its distribution, one of those that "
            "`predict_distribution(model, x)` returns."
        )
    if predicted.batch_shape.rank == 0:
        raise ValueError(
            f"`model` is one {predicted.name} of batch []: give a distribution of batch [n], one for each row."
        )
    outcomes, mask = as_outcomes(as_column(as_numbers("y", y), predicted), predicted, "y"), mask_of(output)
    if mask is not None:
        mask = weights_of_outcomes(mask, predicted.batch_shape, predicted.batch_shape_tensor()).numpy() > 0
        outcomes = where_counted(outcomes, predicted, mask)
    outcomes = np.asarray(outcomes)
    num_rows = len(outcomes) if mask is None else mask.sum()
    if num_rows < 2:
        raise ValueError(f"`y` has {num_rows} rows: give at least two, because one row has no standard error.")
    return PredictedRows(predicted, outcomes, _nll(predicted, outcomes), mask)


def _joined(data):
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        raise ValueError("`y` is missing: give it, or a dataset that has batches `(x, y)`.")
    if len(spec) > 2:
        raise ValueError(
            "`x` is a dataset with weights, but an evaluation counts each row once: drop them with "
            "`x.map(lambda x, y, weight: (x, y))`."
        )
    check_dataset(data)
    batches = list(data.as_numpy_iterator())
    if not batches:
        raise ValueError("The dataset in `x` is empty: there is nothing to compare.")
    for batch in batches:
        check_lengths(batch, "", "give a dataset of batches, as its `.batch(32)` makes them")
    if len({tuple(np.shape(part)[1:] for part in tf.nest.flatten(batch)) for batch in batches}) > 1:
        raise ValueError(
            "The batches in `x` have rows of different shapes: pad their sequences to one length and mask the padding."
        )
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)


def _nll(distribution, y):
    losses = []
    for rows in row_blocks(distribution, len(y)):
        nll, fault = _likelihoods(batch_rows(distribution, rows), y[rows])
        if fault:
            raise _impossible(distribution, y, rows.start, min(rows.stop, len(y)))
        losses.append(nll)
    return np.concatenate(losses)


def _impossible(distribution, y, first, last):
    """Returns an error that names the first row without a finite likelihood, among the rows `first` to `last`."""
    while last - first > 1:
        middle = (first + last) // 2
        faulty = _likelihoods(batch_rows(distribution, slice(first, middle)), y[first:middle])[1]
        first, last = (first, middle) if faulty else (middle, last)
    row_distribution = batch_rows(distribution, slice(first, last))
    fault = _likelihoods(row_distribution, y[first:last])[1]
    if not has_finite_likelihoods(row_distribution):
        return ValueError(
            f"`model` predicts, for row {first}, a {distribution.name} under which no outcome has a finite "
            f"likelihood: look for NaN in `x` and in the weights, and for inputs that make a parameter overflow."
        )
    return ValueError(
        f"`y` holds, at row {first}, {y[first]}, which {distribution.name} cannot have: {fault} Look for mislabelled "
        f"rows, or choose a head whose domain contains them."
    )


def _likelihoods(distribution, y):
    """Returns the negative log-likelihoods, and an error message that is "" if all of them are finite.

    If the distribution refuses the outcomes or its own parameters, None replaces the negative log-likelihoods.
    """
    not_finite = "Its log-likelihood is not finite."
    # `checked` turns on TFP's assertions. In float64, the assertions of some families, such as VonMisesFisher, fail for
    # valid outcomes. So we do not call `checked` for these families.
    as_is = distribution.validate_args or facts_of(type(distribution)).checked_in_float32
    try:
        nll = np.asarray(negative_log_likelihood(y, distribution if as_is else checked(distribution)), np.float64)
    except tf.errors.InvalidArgumentError:  # a check of a parameter failed
        return None, not_finite
    except ValueError as error:
        return None, str(error).partition("cannot have: ")[2].partition(" Look for")[0] or not_finite
    return nll, "" if np.all(np.isfinite(nll)) else not_finite


def outputs_by_name(model: Model, x: Any, y: Mapping[str, ArrayLike], batch_size: int = 32) -> dict[str, Any]:
    """Returns the predictions of a model with several outputs, by the names of the outputs.

    Raises:
      ValueError: if `x` is missing or a dataset, the outputs have no names, or `y` is empty or names an output that the
        model does not have.
    """
    if x is None or isinstance(x, tf.data.Dataset):
        raise ValueError("`y` is a dict of outcomes by output, which needs inputs: give arrays for `x`.")
    check_inputs(x)
    predictions = predict_distribution(model, x, batch_size)
    if not isinstance(predictions, Mapping):
        predictions = dict(zip(_output_names(model), tf.nest.flatten(predictions), strict=True))
    unknown = [name for name in y if name not in predictions]
    if unknown or not y:
        given = f"names the output {unknown[0]!r}" if unknown else "is an empty dict"
        raise ValueError(f"`y` {given}, but the outputs of the model are {', '.join(map(repr, predictions))}.")
    return dict(predictions)


def _output_names(model):
    names = getattr(model, "output_names", None)
    if not names:
        raise ValueError(
            "`y` is a dict of outcomes by output, but the outputs of the model have no names: return a dict from its "
            "`call`, or give `evaluate` one of the distributions that `predict_distribution(model, x)` returns."
        )
    return names
