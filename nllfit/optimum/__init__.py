"""Optimum: the maximum of a function by Newton's method, with a verdict: whether it is a maximum, and if not, why.

`estimation` maximises log-likelihoods with `newton`. `training`, `inference` and `regression` have searches of their
own, and use the axes, steps and checks of `curvature`. All computations are in NumPy and float64.
"""
