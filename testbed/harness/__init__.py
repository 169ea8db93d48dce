"""One attack, its cells; one scenario, its attacks. The harness holds the truth and asks the questions."""
