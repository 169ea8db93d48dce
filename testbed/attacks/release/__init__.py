"""Attacks on a published synthetic table: see the module of each."""
