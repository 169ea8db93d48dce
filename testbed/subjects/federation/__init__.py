"""Federated training with Flower, recorded as one position sees it."""
