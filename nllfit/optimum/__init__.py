"""Optimum: the maximum of a function by Newton's method, with a verdict on what the search found.

`estimation` climbs log-likelihoods, batches of them in a bootstrap; `training`, `inference` and `regression` share the
axes, the step and the checks of `curvature`. Functions are plain callables, all is in NumPy and float64.
"""
