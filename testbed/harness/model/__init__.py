"""Attacks on released models: membership, attributes, classes, stealing, and what a model stores."""
