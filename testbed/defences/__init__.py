"""Defences of clients against leakage: one file for each, a Flower mod with its guarantee, if it has one."""
