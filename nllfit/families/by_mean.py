"""`ByMean`: families parametrised by their mean, as regression models are."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.distribution_names import family_class
from nllfit.families.family import Family
from nllfit.families.links import Sigmoid, Softplus
from nllfit.families.parameters import Numbers, as_tensors

__all__ = ["BY_MEAN", "ByMean", "parameterized"]


@dataclasses.dataclass(frozen=True, eq=False)
class _MeanParameters:
    """The parameters of a family that is parametrised by its mean.

    Attributes:
      links: maps the name of each parameter to the default link.
      to_tfp: maps the values of these parameters to a dict with the values of TFP's parameters.
    """

    links: Mapping[str, Callable[[], tfb.Bijector]]
    to_tfp: Callable[..., dict[str, tf.Tensor]]

    def parameter_properties(self, dtype: tf.DType = tf.float32) -> dict[str, tfpu.ParameterProperties]:
        """Describes each parameter as `tfd.Distribution.parameter_properties` does."""
        items = self.links.items()
        return {name: tfpu.ParameterProperties(default_constraining_bijector_fn=link) for name, link in items}


BY_MEAN: Mapping[type[tfd.Distribution], _MeanParameters] = {
    tfd.Beta: _MeanParameters(
        {"mean": Sigmoid, "precision": Softplus},
        lambda mean, precision: {"concentration1": mean * precision, "concentration0": (1 - mean) * precision},
    ),
    tfd.Exponential: _MeanParameters({"mean": Softplus}, lambda mean: {"rate": 1 / mean}),
    tfd.Gamma: _MeanParameters(
        {"mean": Softplus, "concentration": Softplus},
        lambda mean, concentration: {"concentration": concentration, "rate": concentration / mean},
    ),
    tfd.NegativeBinomial: _MeanParameters(
        {"mean": Softplus, "alpha": Softplus},
        lambda mean, alpha: {"total_count": 1 / alpha, "logits": tf.math.log(mean) + tf.math.log(alpha)},
    ),
}


class ByMean(Family):
    """A family parametrised by its mean. Except for the Exponential, a second parameter sets the variance.

    The distributions are the same as those of `Family(distribution)`. Only their parameters differ:

    | distribution | parameters | variance |
    | --- | --- | --- |
    | `Beta` | `mean`, `precision` | `mean (1 - mean) / (1 + precision)` |
    | `Exponential` | `mean` | `mean^2` |
    | `Gamma` | `mean`, `concentration` | `mean^2 / concentration` |
    | `NegativeBinomial` | `mean`, `alpha` | `mean + alpha mean^2` |

    The link of the mean of a Beta is sigmoid. All other links are softplus. `link={"mean": "exp"}` gives the log link
    of a generalized linear model.

    Args:
      distribution: a class from the table, or its name.
      event_shape, shared, floor, link: as for `Family`.
      **fixed: values at which parameters from the table are held, and other arguments of the distribution's
        constructor.

    Raises:
      ValueError: if the distribution is not in the table, or for a reason given at `Family`.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.ByMean("NegativeBinomial"), [0, 1, 1, 2, 3, 3, 7, 9, 10])
      >>> round(estimate.parameters["mean"], 3), round(estimate.parameters["alpha"], 3)
      (4.0, 0.628)

    Source: Cameron and Trivedi, Regression analysis of count data, 1998, section 3.3; Ferrari and Cribari-Neto, Beta
    regression for modelling rates and proportions, 2004.
    """

    _suffix = "ByMean"

    def __init__(self, distribution: Any, event_shape: int | Sequence[int] = (), **kwargs: Any):
        cls = family_class(distribution)
        if cls not in BY_MEAN:
            known = ", ".join(known.__name__ for known in BY_MEAN)
            raise ValueError(f"{cls.__name__} has no parametrisation by the mean: give one of {known}.")
        super().__init__(cls, event_shape, **kwargs)
        self.name = cls.__name__

    @staticmethod
    def _described(distribution_class: Any) -> Any:
        return BY_MEAN[distribution_class]

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        mean_parameters, arguments = BY_MEAN[self.distribution_class], self.fixed | parameters
        mean_values = as_tensors(arguments, mean_parameters.links, dtype)
        others = {name: value for name, value in arguments.items() if name not in mean_values}
        return self._made(others | mean_parameters.to_tfp(**mean_values), dtype)

    def closed_form(self, y: tf.Tensor) -> Numbers | None:
        return None

    @property
    def label(self) -> str:
        return f"ByMean({', '.join([self.name, *self._options])})"

    def __repr__(self) -> str:
        return f"ByMean({', '.join([self.name, str(self.event_shape), *self._options])})"


def parameterized(
    distribution: Any, event_shape: int | Sequence[int], parameterization: str | None = None, **kwargs: Any
) -> Family:
    """Returns a `ByMean` family if `parameterization` is "mean", and a `Family` with TFP's parameters if it is None."""
    if parameterization not in (None, "mean"):
        raise ValueError(f'`parameterization` is {parameterization!r}: give "mean", or None for TFP\'s own parameters.')
    return (Family if parameterization is None else ByMean)(distribution, event_shape, **kwargs)
