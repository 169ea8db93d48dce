"""The one reporting layer: a typed result, a gate that it must pass, and what is written from it."""
