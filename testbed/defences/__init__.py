"""What clients do against leakage: one file a defence, each a Flower mod, each with its accounting."""
