"""Generators of synthetic tables, and leaks planted in their output with a dial."""
