"""Drops TensorFlow's cache of kernels from time to time.

TensorFlow creates a variable by an operation that has the variable's name as an attribute. For each name, TensorFlow
caches a kernel of 35 KiB until the process ends. Keras gives new names to the variables of each model, so in a loop
over small models the cache would grow by half a MiB with each model.
"""

import threading

from nllfit.adapters.tensorflow import clear_kernel_cache

__all__ = ["drop_kernels"]

# The kernels of this number of variables take 18 MiB. After a drop, TensorFlow takes 0.1 s to rebuild the kernels that
# are still in use.
_MAX_VARIABLES = 512

_made = 0
_LOCK = threading.Lock()


def drop_kernels(made: int) -> None:
    """Counts `made` new variables. Drops all kernels if more than `_MAX_VARIABLES` were made since the last drop.

    A kernel in use, in this thread or another, is kept until its operation ends.
    """
    global _made
    with _LOCK:
        _made += made
        many = _made > _MAX_VARIABLES
        _made = 0 if many else _made
    if many:
        clear_kernel_cache()
