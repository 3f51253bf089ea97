"""Benchmarks measure times and scores. Run one as `python -m experiments.benchmarks.NAME`."""
