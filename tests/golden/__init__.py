"""Findings of a fixed set of commands, kept as files: what a change of the house must not change."""
