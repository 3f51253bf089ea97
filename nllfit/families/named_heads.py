"""The named heads. `nllfit.heads` has them as layers of tf_keras, and `nllfit.keras3.heads` as layers of Keras 3.

The docstring of each class gives *domain, link, formula* of its head. `u`, `v`, `w` are the outputs of the layer before
the head. In `softplus(u) + eps`, `eps` is the resolution of the dtype (1.2e-7 in float32). A `floor` replaces `eps`:
for example `floor={"scale": 1e-3}`. `logit(p) = log(p / (1 - p))`. A formula is the negative log-likelihood in nats. If
an outcome has several independent elements, the formula is for one element, and the loss is the sum over the elements.
"""

from collections.abc import Sequence
from typing import Any

from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_size
from nllfit.families.family import Family
from nllfit.families.head_base import Elementwise, Head
from nllfit.families.mixture import MixtureFamily

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Gamma",
    "Laplace",
    "LogNormal",
    "Mixture",
    "MultivariateNormalTriL",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "Poisson",
    "StudentT",
]


class _OfClasses(Head):
    """A head of class labels."""

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(num_classes, **kwargs)


class Bernoulli(Elementwise):
    """Yes or no, coded as 1 and 0. The negative log-likelihood is binary crossentropy from logits.

    Domain: y in {0, 1}. Link: logit(p) = u.
    Formula: -log p(y) = -y log p - (1 - y) log(1 - p) = softplus(u) - y u.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `validate_args=False` for soft labels; `link={"probs": "normal_cdf"}` for a probit model.

    Example:
      >>> head = Bernoulli()
      >>> head(tf.constant([[0.0]])).mean().numpy()
      array([[0.5]], dtype=float32)

    Source: Cox, The regression analysis of binary sequences, 1958.
    """


class Beta(Elementwise):
    """A proportion strictly between 0 and 1.

    Domain: 0 < y < 1. Links: a = softplus(u) + eps, b = softplus(v) + eps.
    Formula: -log p(y) = (1 - a) log y + (1 - b) log(1 - y) + log B(a, b). B is the beta function.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `concentration1` (a) and
        `concentration0` (b). With `parameterization="mean"` the parameters are `mean` and `precision` (see
        `nllfit.ByMean`).

    Source: Ferrari and Cribari-Neto, Beta regression for modelling rates and proportions, 2004.
    """


class Categorical(_OfClasses):
    """One of `num_classes` classes, given by its index. The loss is sparse categorical crossentropy from logits.

    Domain: y in {0, ..., num_classes - 1}, one label per row. Labels have shape `[B]`, or `[B, 1]` after Keras's `fit`
    has reshaped them.
    Link: p = softmax(u). Formula: -log p(y) = logsumexp(u) - u_y.
    Converted to a tensor, the output is the probabilities `[B, num_classes]`.

    Args:
      num_classes: the number of classes, at least 2.

    Example:
      >>> Categorical(3)(tf.zeros([1, 3])).log_prob([2]).numpy()  # log(1/3)
      array([-1.0986123], dtype=float32)

    Source: McFadden, Conditional logit analysis of qualitative choice behavior, 1974.
    """

    @staticmethod
    def make_family(num_classes: int, **kwargs: Any) -> Family:
        return Family("Categorical", num_classes=num_classes, **kwargs)


class Gamma(Elementwise):
    """A positive amount. If the concentration is shared, the standard deviation is proportional to the mean.

    Domain: y > 0. Links: a = softplus(u) + eps, log(rate) = v.
    Formula: -log p(y) = rate y - (a - 1) log y - a log(rate) + log Gamma(a).

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `concentration` (a) and `rate` (or
        `log_rate`). With `parameterization="mean"` the parameters are `mean` and `concentration` (see `nllfit.ByMean`).

    Source: McCullagh and Nelder, Generalized linear models, 1989, chapter 8.
    """


class Laplace(Elementwise):
    """A real number, for data with outliers.

    If the scale is fixed, the loss equals the mean absolute error times a factor, plus an offset.

    Domain: y real. Links: loc = u, scale = softplus(v) + eps.
    Formula: -log p(y) = |y - loc| / scale + log(2 scale).

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `loc` and `scale`.

    Source: Laplace, Memoire sur la probabilite des causes par les evenemens, 1774.
    """


class LogNormal(Elementwise):
    """A positive amount whose logarithm is Normal.

    Domain: y > 0. Links: loc = u, scale = softplus(v) + eps (the mean and standard deviation of log y).
    Formula: -log p(y) = ((log y - loc) / scale)^2 / 2 + log(scale) + log(y) + log(2 pi) / 2.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `loc` and `scale`.

    Source: Aitchison and Brown, The lognormal distribution, 1957.
    """


class Mixture(Head):
    """A mixture of distributions of one family. It can have several modes, or a shape that no single family has.

    Domain and links are those of the component; the weights are pi = softmax(u).
    Formula: -log p(y) = -log sum_k pi_k p_k(y). All elements of an outcome come from the same component, so the
    elements depend on each other.

    Args:
      component: the class of the components (a class of `tfp.distributions`), or the name of the class.
      num_components: the number of components, at least 1.
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `floor`, `link` and `num_classes` of the components, and fixed values of the components' parameters.

    Example:
      >>> Mixture.params_size("Normal", 3)
      9

    Source: Bishop, Mixture density networks, 1994.
    """

    def __init__(
        self,
        component: str | type[tfd.Distribution],
        num_components: int,
        event_shape: int | Sequence[int] = 1,
        **kwargs: Any,
    ):
        super().__init__(component, num_components, event_shape, **kwargs)

    @staticmethod
    def make_family(
        component: str | type[tfd.Distribution],
        num_components: int,
        event_shape: int | Sequence[int] = 1,
        **kwargs: Any,
    ) -> MixtureFamily:
        return MixtureFamily(component, num_components, event_shape, **kwargs)


class MultivariateNormalTriL(Head):
    """Several real numbers that depend on each other.

    Domain: y is a real vector of length d. Link: loc = u. The covariance is L L'. The numbers v fill the
    lower-triangular matrix L, with softplus(v) + eps in place of v on the diagonal (TFP's `FillScaleTriL`).
    Formula: -log p(y) = |L^-1 (y - loc)|^2 / 2 + log det L + d log(2 pi) / 2.

    Args:
      event_shape: the length d of the vector, or a tuple that ends in it.
      **kwargs: `shared=("scale_tril",)` if all inputs have the same covariance, and fixed values of the parameters
        `loc` and `scale_tril`.

    Example:
      >>> MultivariateNormalTriL.params_size(2)  # 2 for loc, 3 for L
      5

    Source: Dorta et al., Structured uncertainty prediction networks, 2018.
    """

    def __init__(self, event_shape: int | Sequence[int], **kwargs: Any):
        super().__init__(event_shape, **kwargs)

    @staticmethod
    def make_family(event_shape: int | Sequence[int], **kwargs: Any) -> Family:
        return Family("MultivariateNormalTriL", event_shape, **kwargs)


class NegativeBinomial(Elementwise):
    """A count whose variance is larger than the mean.

    Domain: y in {0, 1, 2, ...}. Links: r = softplus(u) + eps, logit(p) = v; the mean is r p / (1 - p) = r exp(v).
    Formula: -log p(y) = -log C(y + r - 1, y) - r log(1 - p) - y log p. C is the binomial coefficient.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `total_count` (r) and `logits` (or
        `probs`, p). With `parameterization="mean"` the parameters are `mean` and `alpha` (see `nllfit.ByMean`).

    Source: Hilbe, Negative binomial regression, 2011.
    """


class Normal(Elementwise):
    """A real number. If the scale is fixed, the loss equals the mean squared error times a factor, plus an offset.

    Domain: y real. Links: loc = u, scale = softplus(v) + eps.
    Formula: -log p(y) = ((y - loc) / scale)^2 / 2 + log(scale) + log(2 pi) / 2.

    The scale has one of three forms:

    - `Normal()`: the network predicts the scale for each input (heteroscedastic).
    - `Normal(scale=1.0)`: the scale has a fixed value (least squares).
    - `Normal(shared=("scale",))`: the head learns one scale for all inputs (homoscedastic). The maximum-likelihood
      estimate of the scale is the root of the mean squared residual.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `loc` and `scale`.

    Example:
      >>> [Normal.params_size(), Normal.params_size(scale=1.0), Normal.params_size(shared=("scale",))]
      [2, 1, 1]

    Source: Gauss, Theoria motus, 1809; Nix and Weigend, Estimating the mean and variance of the target probability
    distribution, 1994.
    """


class OneHotCategorical(_OfClasses):
    """One of `num_classes` classes, given as a one-hot vector. The loss is categorical crossentropy from logits.

    Domain: y is one-hot, `[B, num_classes]`. Link: p = softmax(u). Formula: -log p(y) = logsumexp(u) - sum_k y_k u_k.

    Args:
      num_classes: the number of classes, at least 2.
      **kwargs: `validate_args=False` for soft labels.

    Example:
      >>> OneHotCategorical(2)(tf.zeros([1, 2])).mean().numpy()
      array([[0.5, 0.5]], dtype=float32)

    Source: McFadden, Conditional logit analysis of qualitative choice behavior, 1974.
    """

    @staticmethod
    def make_family(num_classes: int, **kwargs: Any) -> Family:
        return Family("OneHotCategorical", as_size("num_classes", num_classes, 2), **kwargs)


class Poisson(Elementwise):
    """A count. The loss is Keras's Poisson loss (without its epsilon) plus `log y!`, which depends only on the outcome.

    Domain: y in {0, 1, 2, ...}. Link: log(rate) = u. Formula: -log p(y) = rate - y u + log y!.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `link={"rate": "softplus"}` replaces the link `exp`.

    Source: Nelder and Wedderburn, Generalized linear models, 1972.
    """


class StudentT(Elementwise):
    """A real number with heavy tails.

    Domain: y real. Links: df = softplus(u) + eps, loc = v, scale = softplus(w) + eps.
    Formula: -log p(y) = (df + 1)/2 log(1 + z^2 / df) + log(scale) + log B(1/2, df/2) + log(df) / 2, with
    z = (y - loc) / scale.
    B is the beta function. Converted to a tensor, the output is loc: the median and, for df > 1, also the mean.

    Args:
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `shared`, `floor`, `link`, and fixed values of the parameters `df`, `loc` and `scale`.

    Source: Lange, Little and Taylor, Robust statistical modeling using the t distribution, 1989.
    """
