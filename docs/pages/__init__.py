"""What makes the site's pages that nobody writes by hand: the reference, families, benchmarks, tutorials."""
