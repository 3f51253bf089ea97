"""Where outcomes lie: on whole numbers or on the real line, and how that is mapped onto the support."""

from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.kinds import DISCRETE, is_own, parts_of

__all__ = ["is_discrete", "line"]


def is_discrete(distribution: tfd.Distribution) -> bool:
    """Whether outcomes are counts or labels, which have a probability each and not a density.

    They are where TFP's mark or an integer dtype says so, and are not where samples have a derivative or something maps
    the real line onto the support. What a distribution is made of tells where it does not itself.

    Raises:
      ValueError: if nothing tells, as of a class of a user's own that says nothing.
    """
    if isinstance(distribution, DISCRETE) or getattr(distribution.dtype, "is_integer", False):
        return True
    if distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED or isinstance(distribution, tfd.Deterministic):
        return False
    try:
        if line(distribution) is not None:
            return False
    except TypeError:  # TFP's bijector onto a simplex fails with NumPy 2.4
        return False
    parts = parts_of(distribution)
    if not parts and is_own(type(distribution)):
        raise ValueError(
            f"{type(distribution).__name__} does not tell whether its outcomes are numbers with a density or counts: "
            f"give it the method `_default_event_space_bijector`, which returns a bijector from the real line onto its "
            f"support, such as `tfb.Identity()`; or, for counts, an integer dtype, or derive it from "
            f"`tensorflow_probability.python.distributions.distribution.DiscreteDistributionMixin`, too."
        )
    return bool(parts) and all(map(is_discrete, parts))


def line(distribution: tfd.Distribution) -> tfb.Bijector | None:
    """TFP's map of the real line onto the support of a continuous distribution, or None if it has none."""
    distribution = getattr(distribution, "components_distribution", distribution)
    try:
        return distribution.experimental_default_event_space_bijector()
    except NotImplementedError:
        return None
