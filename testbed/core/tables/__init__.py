"""Tables as arrays: an index of rows, equal rows, nearest rows, and robust scales. Needs numba."""
