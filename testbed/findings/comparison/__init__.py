"""Settings compared: what each leaks and costs, which differ beyond chance, and which one a policy lets one choose.

`schema` holds what a comparison says, `settings` makes it of results, `pairs` compares settings with each other, and
`recommend` chooses.
"""
