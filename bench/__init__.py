"""Benchmarks: ours, the library that a user would pick, and the machine's limit, in one run."""
