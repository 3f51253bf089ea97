"""Families addressed by their mean: the parametrisations that regressions of statistics have."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.arguments import family_class
from nllfit.families.facts import Facts
from nllfit.families.family import Family
from nllfit.families.links import Softplus
from nllfit.families.protocol import Numbers

__all__ = ["BY_MEAN", "ByMean", "parameterized"]


class _Described(tfd.Distribution):
    """Describes parameters to `Family`, and what TFP's parameters are in them; it is never instantiated."""

    @staticmethod
    def natural(**values: tf.Tensor) -> dict[str, tf.Tensor]:
        """TFP's parameters by name."""
        raise NotImplementedError


def _linked(**links: Any) -> dict[str, tfpu.ParameterProperties]:
    return {name: tfpu.ParameterProperties(default_constraining_bijector_fn=link) for name, link in links.items()}


class BetaByMean(_Described):
    """A Beta by `mean` and `precision`."""

    def __init__(self, mean, precision, validate_args=True, force_probs_to_zero_outside_support=False):
        raise NotImplementedError

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return _linked(mean=tfb.Sigmoid, precision=Softplus)

    @staticmethod
    def natural(mean: tf.Tensor, precision: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"concentration1": mean * precision, "concentration0": (1 - mean) * precision}


class ExponentialByMean(_Described):
    """An Exponential by `mean`."""

    def __init__(self, mean, validate_args=True, force_probs_to_zero_outside_support=False):
        raise NotImplementedError

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return _linked(mean=Softplus)

    @staticmethod
    def natural(mean: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rate": 1 / mean}


class GammaByMean(_Described):
    """A Gamma by `mean` and `concentration`."""

    def __init__(self, mean, concentration, validate_args=True, force_probs_to_zero_outside_support=False):
        raise NotImplementedError

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return _linked(mean=Softplus, concentration=Softplus)

    @staticmethod
    def natural(mean: tf.Tensor, concentration: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"concentration": concentration, "rate": concentration / mean}


class NegativeBinomialByMean(_Described):
    """A NegativeBinomial by `mean` and `alpha`."""

    def __init__(self, mean, alpha, validate_args=True):
        raise NotImplementedError

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return _linked(mean=Softplus, alpha=Softplus)

    @staticmethod
    def natural(mean: tf.Tensor, alpha: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total_count": 1 / alpha, "logits": tf.math.log(mean) + tf.math.log(alpha)}


BY_MEAN = {
    "Beta": BetaByMean,
    "Exponential": ExponentialByMean,
    "Gamma": GammaByMean,
    "NegativeBinomial": NegativeBinomialByMean,
}


class ByMean(Family):
    """A family addressed by its mean, and by how outcomes scatter around it.

    The distributions are those of `Family(distribution)`; only the numbers that stand for them differ:

    | distribution | parameters | variance |
    | --- | --- | --- |
    | `Beta` | `mean`, `precision` | `mean (1 - mean) / (1 + precision)` |
    | `Exponential` | `mean` | `mean^2` |
    | `Gamma` | `mean`, `concentration` | `mean^2 / concentration` |
    | `NegativeBinomial` | `mean`, `alpha` | `mean + alpha mean^2` |

    The links are softplus, and sigmoid for a mean between 0 and 1; `link={"mean": "exp"}` gives the log link of a
    generalized linear model.

    Args:
      distribution: a name or class of the table.
      event_shape, shared, floor, link: as of `Family`.
      **fixed: parameters of the table held at a value, and other arguments of the distribution's constructor.

    Raises:
      ValueError: for another distribution, and as `Family`.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.ByMean("NegativeBinomial"), [0, 1, 1, 2, 3, 3, 7, 9, 10])
      >>> round(estimate.parameters["mean"], 3), round(estimate.parameters["alpha"], 3)
      (4.0, 0.628)

    Source: Cameron and Trivedi, Regression analysis of count data, 1998, section 3.3; Ferrari and Cribari-Neto, Beta
    regression for modelling rates and proportions, 2004.
    """

    def __init__(self, distribution: Any, event_shape: int | Sequence[int] = (), **kwargs: Any):
        cls = family_class(distribution)
        if cls.__name__ not in BY_MEAN:
            raise ValueError(f"{cls.__name__} has no parametrisation by the mean: it is for {', '.join(BY_MEAN)}.")
        self.base = Family(cls, event_shape)
        super().__init__(BY_MEAN[cls.__name__], event_shape, **kwargs)
        self.name = cls.__name__

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        known = self.distribution_class.parameter_properties(dtype)
        others = {name: value for name, value in self.fixed.items() if name not in known}
        values = self._fixed_numbers(dtype) | parameters
        family = self.base.holding(others) if others else self.base
        return family.build(self.distribution_class.natural(**{name: values[name] for name in known}), dtype)

    def closed_form(self, y: tf.Tensor) -> Numbers | None:
        return None

    @property
    def facts(self) -> Facts:
        return self.base.facts

    @property
    def arguments(self) -> dict[str, Any]:
        return super().arguments | {"distribution": self.base.distribution_class}

    @property
    def label(self) -> str:
        return f"ByMean({', '.join([self.name, *self._options])})"

    def __repr__(self) -> str:
        return f"ByMean({', '.join([self.name, str(self.event_shape), *self._options])})"


def parameterized(
    distribution: Any, event_shape: int | Sequence[int], parameterization: str | None = None, **kwargs: Any
) -> Family:
    """A family with TFP's parameters, or, for `"mean"`, by its mean."""
    if parameterization not in (None, "mean"):
        raise ValueError(f'`parameterization` is {parameterization!r}: give "mean", or None for TFP\'s own parameters.')
    return (Family if parameterization is None else ByMean)(distribution, event_shape, **kwargs)
