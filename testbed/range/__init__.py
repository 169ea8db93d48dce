"""The cyber range: an exercise with a red, a blue and a white team, a scorer that alone holds the truth, and a log."""
