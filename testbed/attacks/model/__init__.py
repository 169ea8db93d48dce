"""Attacks on a released model, by its predictions."""
