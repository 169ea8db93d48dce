"""From evidence to findings: their schema, their words, their statistics, and the decision by a policy."""
