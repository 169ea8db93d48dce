"""Attacks on a released model through its predictions."""
