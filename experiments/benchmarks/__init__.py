"""Benchmarks: times and scores compared with other libraries, run as `python -m experiments.benchmarks.NAME`."""
