"""Generates pages of the site from code and data: the reference, families, benchmarks and tutorials."""
