"""Fast functions on tables: matching rows, equal rows, nearest rows, and robust scales. They need numba."""
