"""Models under audit: estimators, torch modules, APIs and tables of predictions."""
