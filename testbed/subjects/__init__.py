"""Whatever gives a view: a federation, a released model, a synthetic table."""
