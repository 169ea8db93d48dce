"""Stands in for Weights & Biases: nothing is sent anywhere."""

from __future__ import annotations

from typing import Any


def init(**_: Any) -> None:
    """Does nothing."""


def log(*_: Any, **__: Any) -> None:
    """Does nothing."""
