# pyright: strict
"""Flags: reasons why a finding cannot be trusted or needs a person, each with what to do about it."""

from __future__ import annotations

FEW_GUESSES = 200
"""A finding with fewer judged guesses is flagged `few_guesses`; a control of fewer people, `small_control`."""

FEW_FORMED = 0.8
"""A finding is flagged `few_formed` if a smaller share of the requested guesses could be formed."""

MANY_GUESSES = 2000
"""A request for more guesses counts as a request for this many when `few_formed` is decided.

At a success rate of one half, 2,000 guesses give an interval of about two percentage points on either side.
"""

FLAGS = {
    "few_guesses": f"fewer than {FEW_GUESSES} guesses could be judged",
    "similarity_not_chosen": "claims were compared by one similarity only, and another declared similarity finds more; "
    "with a single batch it could not be chosen fairly",
    "few_formed": f"fewer than {FEW_FORMED:.0%} of the requested guesses could be formed (a request for more than "
    f"{MANY_GUESSES:,} counts as one for {MANY_GUESSES:,})",
    "no_control": "there is no control, so general knowledge cannot be distinguished from leakage",
    "positive_control_failed": "the attack found nothing even where a leak was planted, so its result cannot be "
    "trusted",
    "positive_control_weak": "the attack stays below the limit even on a subject known to leak, so it could not have "
    "failed this one",
    "claim_exceeded": "the audit shows a larger epsilon than the one claimed",
    "small_control": f"the control holds fewer than {FEW_GUESSES} people",
    "positive_control_missing": "no subject known to leak was attacked, so it is unknown whether the attack works",
    "strongest_unmeasured": "one of the attacks that could have decided was not run, and it may be the stronger one",
    "naive_attacker": "no attack of this run is known to read what this defence makes of an update, and nothing is "
    "proven of the defence, so it may hide the records from these attacks alone",
    "answers_unexplained": "the clients' answers fit the records that were given no better than they fit other "
    "people's, so a defence, a mask or another loss stands between them, or the records are another client's",
    "model_knows_nothing": "the model ranks its own members no better than chance, so it is probably another model, or "
    "it was asked about records in another form than in its training",
    "worse_than_copies": "the model knows its own members less than copies of it know people whom they never saw, so "
    "it is probably another model, or it was asked about records in another form than in its training",
    "rows_judged_alone": "members have more rows a person than controls, so some of the members' rows were left out; "
    "an attacker who adds up all rows of a person may recognise more",
    "split_differs": "the attack distinguishes members from controls even without any view of the records used, so the "
    "two groups differ by themselves",
    "explained_by_shuffling": "models of the same people, whose hospitals were shuffled, name them as often, so the "
    "excess is not what the model knows of people's hospitals",
    "copies_suspected": "people of the original stand in the release, by chance or copied",
    "control_overlap": "original and control share more rows than chance explains",
    "identifiers_present": "the release holds what looks like direct identifiers of people",
    "kind_in_doubt": "a column with many different values, most of which hold digits, was read as a category, so near "
    "values count as different",
    "units_differ": "the tables write a column in units that cannot be converted into each other, so attacks cannot "
    "compare its values",
    "numbers_apart": "the released numbers of a column hardly meet those of the original, as if they were in another "
    "unit or code, so attacks cannot compare them",
    "negative_excess": "the attack is right less often about people in the data than about others, beyond chance: "
    "something distinguishes the two groups, and this attack looks the wrong way",
    "control_in_release": "people of the control stand in the release more often than chance explains: the generator "
    "seems to have seen the control, or the wrong file is being judged",
    "near_copies": "released rows lie close to single people of the original more often than close to people who were "
    "not in it",
    "near_copies_suspected": "released rows lie close to single people of the original, by chance or copied",
    "part_copied": "in some columns released rows lie close to single people of the original, though the rest of the "
    "row is not theirs",
    "categories_unknown": "most released categories of a column do not occur in the original, so that attacks cannot "
    "compare them",
    "control_shift": "original and control differ in distribution (permutation test, p below 0.01)",
}
"""What each flag means: the end of a sentence, without a full stop."""

NEXT = {
    "few_guesses": "use more people",
    "similarity_not_chosen": "use two batches or more, so that the similarity is chosen on one and judged on another",
    "few_formed": "use a table with more rows, or let a person judge how many people share each row",
    "no_control": "hold people out before synthesis or training (testbed split), and give them as the control",
    "positive_control_failed": "use more people or another attack; until then this number is no evidence either way",
    "positive_control_weak": "use more people",
    "claim_exceeded": "check what adds the noise, and how its epsilon is computed: one of the two is wrong",
    "small_control": f"hold out {FEW_GUESSES} people or more; if there are too few for that, a person decides",
    "positive_control_missing": "run the attack also on a subject known to leak; until then, a pass is no evidence",
    "strongest_unmeasured": "see what the finding of that attack says it needs",
    "naive_attacker": "run an attack that knows the defence, or let the defence tell its bounds (docs/extending.md)",
    "answers_unexplained": "check which client each file belongs to, and --loss; what a defence of the app hides is "
    "measured by testbed run with -s defence=",
    "model_knows_nothing": "check the file, and that columns are scaled, ordered and coded as for the training",
    "worse_than_copies": "check the file, and that columns are scaled, ordered and coded as for the training",
    "rows_judged_alone": "give as many rows a person for the controls as for the members: hold out whole people, with "
    "all their rows (testbed split --person)",
    "split_differs": "draw the control at random from the same people",
    "explained_by_shuffling": "use more shuffles and more people; until then the excess is no sign of a leak",
    "copies_suspected": "look at the rows that stand in both tables; a larger control gives more certainty",
    "control_overlap": "draw the control at random from the same people, by person (testbed split --person)",
    "identifiers_present": "look at the columns named, and take out or replace what identifies people",
    "kind_in_doubt": "see the table of columns; declare the column's kind in the meta file, or write plain numbers",
    "units_differ": "see the table of columns; write the column in one unit in all tables, and evaluate again",
    "numbers_apart": "see the table of columns; write the column in the original's unit and code, and evaluate again",
    "negative_excess": "check how the control was drawn, and whether the generator saw it",
    "control_in_release": "synthesise again from the original alone, or check which files were given",
    "near_copies": "find out how these rows came there, smooth more, and synthesise again",
    "near_copies_suspected": "find out how these rows came there; a person decides",
    "part_copied": "make these columns too, or write them more coarsely, and evaluate again",
    "categories_unknown": "write the categories as the original does, in all tables, and evaluate again",
    "control_shift": "draw the control at random from the same people",
}
"""What to do about each flag, as printed beside a reason; docs/verdict.md says more."""
