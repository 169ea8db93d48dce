# pyright: strict
"""Flags: reasons why a number must not be trusted, each with its words."""

from __future__ import annotations

FEW_GUESSES = 200


FEW_FORMED = 0.8


MANY_GUESSES = 2000
"""Enough for a bound of two points at a rate of one half; nobody is held to have asked for more."""


FLAGS = {
    "few_guesses": f"fewer than {FEW_GUESSES} guesses could be judged",
    "similarity_not_chosen": "there was but one batch, and another declared similarity tells more of it than the one "
    "that judges",
    "few_formed": f"fewer than {FEW_FORMED:.0%} of the guesses asked for, or of {MANY_GUESSES}, could be formed",
    "no_control": "there is no control: what is learnt about anyone cannot be told from leakage",
    "positive_control_failed": "the attack fails even on a subject known to leak, so its null proves nothing",
    "positive_control_weak": "on a subject known to leak the attack stays below the limit, so it could not have failed "
    "(a control much smaller than the original does that to singling out)",
    "claim_exceeded": "more is given away than the claimed epsilon allows",
    "small_control": f"the control holds fewer than {FEW_GUESSES} people",
    "positive_control_missing": "no subject known to leak was attacked",
    "strongest_unmeasured": "an attack that might have decided could not be run, and may be the stronger one",
    "split_differs": "without any view of the records used, members and controls are told apart: the split differs",
    "copies_suspected": "the copies are too few, or the control is too small, to be sure that they are no chance",
    "control_overlap": "original and control share more rows than chance explains",
    "identifiers_present": "the release holds what looks like direct identifiers of people",
    "kind_in_doubt": "a column with many different values, most of which hold digits, was read as a category, so that "
    "near values count as different (see the table of columns; give its kind in the meta file, or write plain numbers)",
    "negative_excess": "the attack is right less often about people in the data than about others, beyond chance: "
    "something distinguishes the two groups, and this attack looks the wrong way",
    "control_in_release": "people of the control stand in the release more often than chance explains: the generator "
    "seems to have seen the control, or the wrong file is being judged",
    "near_copies": "released rows lie next to single people of the original more often than next to people who were "
    "not in it",
    "near_copies_suspected": "released rows lie next to single people of the original somewhat more often than next to "
    "people who were not in it",
    "control_shift": "original and control differ in distribution (permutation test, p < .01)",
}
