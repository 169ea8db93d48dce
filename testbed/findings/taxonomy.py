# pyright: strict
"""The entries of public taxonomies that each risk corresponds to."""

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
}


def taxonomy(risk: str) -> list[Taxon]:
    """The taxonomy entries of a risk; empty where none fits."""
    return [Taxon.model_validate({"scheme": s, "id": i, "fit": f}) for s, i, f in TAXONOMY.get(risk, ())]
