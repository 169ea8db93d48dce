"""Sweeps: a scenario run at every combination of levels, in a folder of finished cells that is the sweep's only state.

`grid` makes the cells, `inputs` says what a cell depends on, `folder` keeps the finished ones, `workers` runs the
others, and `conduct` puts these together.
"""
