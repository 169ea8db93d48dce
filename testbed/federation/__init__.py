"""Federations on Flower: engines, apps, adversaries, and the tap that records what a position sees."""
