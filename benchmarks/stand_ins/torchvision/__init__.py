"""Stands in for `torchvision`: the transforms alone."""
