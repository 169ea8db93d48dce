# pyright: strict
"""The entries of public taxonomies that each risk corresponds to.

Read: MITRE ATLAS 5.6, NIST AI 100-2 E2025 (section 2.4), OWASP Machine Learning Top 10 (2023), Opinion 05/2014 (WP216),
and the risks of StatBarn (https://www.w3id.org/statbarnsdc), which output checkers use.
"""

from __future__ import annotations

from testbed.findings.schema import Taxon

TAXONOMY: dict[str, tuple[tuple[str, str, str], ...]] = {
    "membership": (
        ("MITRE ATLAS", "AML.T0024.000", "exact"),
        ("NIST AI 100-2", "NISTAML.033", "exact"),
        ("OWASP ML", "ML04:2023", "exact"),
    ),
    "reconstruction": (
        ("MITRE ATLAS", "AML.T0024.001", "partial"),
        ("NIST AI 100-2", "NISTAML.032", "exact"),
        ("OWASP ML", "ML03:2023", "partial"),
    ),
    "singling_out": (("WP29 Opinion 05/2014", "singling out", "exact"),),
    "linkability": (("WP29 Opinion 05/2014", "linkability", "exact"),),
    "attribute_inference": (("WP29 Opinion 05/2014", "inference", "exact"),),
    "copying": (("WP29 Opinion 05/2014", "singling out", "partial"),),
    "property": (("NIST AI 100-2", "NISTAML.034", "exact"),),
    "class_inversion": (
        ("MITRE ATLAS", "AML.T0024.001", "exact"),
        ("NIST AI 100-2", "NISTAML.032", "partial"),
        ("OWASP ML", "ML03:2023", "exact"),
    ),
    "extraction": (
        ("MITRE ATLAS", "AML.T0024.002", "exact"),
        ("NIST AI 100-2", "NISTAML.031", "exact"),
        ("OWASP ML", "ML05:2023", "exact"),
    ),
    # A bound of epsilon is measured by membership inference. No taxonomy has an entry for a claim that does not hold.
    "epsilon": (
        ("MITRE ATLAS", "AML.T0024.000", "partial"),
        ("NIST AI 100-2", "NISTAML.033", "partial"),
        ("OWASP ML", "ML04:2023", "partial"),
    ),
    # What a model stores: too many parameters for its people, groups of few people, groups of one class.
    "structure": (
        ("StatBarn", "LowDOF", "partial"),
        ("StatBarn", "LowCount", "partial"),
        ("StatBarn", "ClassDisclosure", "partial"),
    ),
}


def taxonomy(risk: str) -> list[Taxon]:
    """The taxonomy entries of a risk; empty where none fits."""
    return [Taxon.model_validate({"scheme": s, "id": i, "fit": f}) for s, i, f in TAXONOMY.get(risk, ())]
