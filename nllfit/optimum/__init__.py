"""Optimum: the maximum of a function by Newton's method, with a verdict on what the search found.

`estimation` maximises log-likelihoods by `newton`; `training`, `inference` and `regression` use the axes, the step and
the checks of `curvature`. Functions are plain callables in NumPy and float64.
"""
