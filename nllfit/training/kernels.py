"""Kernels: what TensorFlow keeps of every variable that ever was, dropped now and then.

TensorFlow makes a variable by an operation that has the variable's name as an attribute, and keeps the kernel of each
operation with other attributes for as long as the process lives: 35 KiB for a variable of a name that is new, as each
model of Keras gives to all of its own. A loop over small models would grow by half a MiB with each of them.
"""

import threading

from nllfit.adapters.tensorflow import clear_kernel_cache

__all__ = ["drop_kernels"]

_MOST = 512  # variables: 18 MiB; to make anew the kernels that are still in use takes a tenth of a second

_made = 0
_LOCK = threading.Lock()


def drop_kernels(made: int) -> None:
    """Drops all kernels if, with so many more, the variables made since the last time are many.

    One that is in use, be it in another thread, lives until it has done its work.
    """
    global _made
    with _LOCK:
        _made += made
        many = _made > _MOST
        _made = 0 if many else _made
    if many:
        clear_kernel_cache()
