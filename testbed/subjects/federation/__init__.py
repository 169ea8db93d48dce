"""Federated training with Flower, and its record as an attacker in one position sees it."""
