"""A supervisor that says that it is ready, and ends when its input does."""

import sys

print("ready", flush=True)
sys.stdin.read()
