"""Attacks on a published synthetic table."""
