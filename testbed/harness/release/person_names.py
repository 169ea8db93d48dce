"""Names of people: by a column's name and the form of its values, and in texts after a form of address.

A name has no check digit. So the words of a column's name decide, in the languages of Europe, and the values must look
like names, in any case and with any blanks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MOST = 0.5
"""The share of a column's values that must look like names."""
_WORD = r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?"
WORDS = re.compile(rf"{_WORD}(?:,? {_WORD}){{0,5}}$")
PERSON = re.compile(
    r"(?:^|_)(?:(?:patient|person|pat|full|client|contact|relative|doctor|kontakt)?_?(?:name|names|namn|navn|nimi|nom"
    r"|nome|nombre|naam|nazwa)|patient|person|client|contact|patientnamn|next_of_kin|kin|relative|mother|father|guardian"
    r"|doctor|physician|surgeon|nurse|lakare|anhorig|vardnadshavare|patientin|arzt|medecin|medico|paciente|paziente"
    r"|angehoriger|hausarzt|ansprechpartner|emergency_contact)(?:$|_)"
)
ONE = re.compile(
    r"(?:^|_)(?:[flms]_?name|first_?names?|given_?names?|fore_?names?|middle_?names?|last_?names?|family_?names?"
    r"|sur_?names?|maiden_?name|nickname|given|surnames?"
    r"|prenoms?|nom_(?:de_)?famille|nom_(?:de_)?naissance|nom_usuel|nom|cognome|cognomi"
    r"|vornamen?|nachnamen?|familiennamen?|geburtsname|rufname|zuname"
    r"|fornamn|efternamn|tilltalsnamn|mellannamn|fornavn|etternavn|efternavn|mellemnavn|mellomnavn|etunimi|sukunimi"
    r"|nombres?|apellidos?|primer_apellido|segundo_apellido|apelidos?|sobrenome|primeiro_nome|ultimo_nome"
    r"|voornaam|voornamen|achternaam|familienaam|roepnaam|imie|imiona|nazwisko|jmeno|prijmeni|krestni"
    r"|keresztnev|vezeteknev|csaladnev|nume|prenume|ime|prezime|priimek|soyad|soyadi|vardas|pavarde|eesnimi"
    r"|perekonnanimi|vards|uzvards)(?:$|_)"
)
PLAIN = re.compile(r"(?:^|_)(?:patient|person|full)?_?(?:name|namn|navn|nimi|nom|nome|nombre|naam|patientnamn)(?:$|_)")
"""Columns that surely hold names. In others, such as `patient` or `contact`, words in small letters may be anything."""
NOT_A_PERSON = re.compile(
    r"drug|medicament|medikament|farmaco|brand|file|hospital|hopital|ospedale|krankenhaus|klinik|sjukhus|ward|unit"
    r"|product|variable|test|study|city|citta|ciudad|stadt|municipal|kommun|country|pays|county|region|place|street"
    r"|strasse|school|company|firm|organi|clinic|department|service|diagnos|disease|maladie|type|class|category|group"
    r"|status|species|gene_|method|device|event|field|sheet|table|column|param|analyte|visit|site|role|title|code|color"
    r"|scan|protocol|series|instrument|kit|assay|marker|procedure|allerg|symptom|form_|arm_|user_agent|host|domain"
)
STOP = {
    word
    for text in (
        "yes no not none unknown other male female married single divorced widowed deceased alive missing refused",
        "oui non inconnu autre ja nein unbekannt andere weiblich nej annan kvinna si desconocido otro sconosciuto",
        "of with at in for to the and or was is seen stable admitted discharged high low normal ward left right",
    )
    for word in text.split()
}
"""Words that stand in no name: a value with one of them is none."""
CAPITAL = r"[^\W\d_a-zß-öø-ÿ][^\W\d_'’-]*(?:['’-][^\W\d_]+)*"
TITLED = re.compile(
    r"(?<![^\W_])(?:Mr|Mrs|Ms|Miss|Mme|Mlle|Monsieur|Madame|Herrn?|Frau|Fru|Sig\.ra|Signora?|Sra|Señora?"
    r"|Dhr|Mevr|Mevrouw|Meneer|Rouva|Dr|Prof)\.? +(?:(?:Dr|Prof|med)\.? +)*"
    rf"(?:(?:von|van|der|den|de|del|della|da|di|af|av|le|la|el|al) +)*{CAPITAL}(?<=[^\W\d_]{{2}})"
)
"""A form of address and a name: Mrs Berg, Herr Dr. von Sydow, Mme Dupont."""
LABELLED = re.compile(
    r"(?<![^\W_])(?i:(?:(?:patient|pat\.?|full|last|first)? ?(?:name|namn|nom|nome|nombre|naam))|patient|patientin"
    rf"|next of kin|contact|anhörig|contatto) ?[:=] ?{CAPITAL},? (?:\w{{2,3}} )?{CAPITAL}"
)
"""A label and two names: Patient: Anna Berg."""


def folded(column: str) -> str:
    """A column's name in small letters without accents, its words divided by underscores."""
    parted = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", "_", column)
    plain = unicodedata.normalize("NFKD", parted.casefold().replace("ø", "o").replace("ł", "l").replace("ß", "ss"))
    return re.sub(r"[\W_]+", "_", "".join(c for c in plain if not unicodedata.combining(c)))


def in_column(column: str, texts: Sequence[str]) -> list[str]:
    """The values that are names of people, if the column's name says so and most of its values look so."""
    called = folded(column)
    one = ONE.search(called) is not None
    if not texts or not (one or PERSON.search(called)) or NOT_A_PERSON.search(called):
        return []
    sure = one or PLAIN.search(called) is not None
    names = [t for t in texts if _like_name(t, one, sure)]
    return names if len(names) >= MOST * len(texts) else []


def _like_name(text: str, one: bool, sure: bool) -> bool:
    name = " ".join(text.replace("^", " ").split())  # DICOM parts names by ^
    if not WORDS.match(name) or (set(name.casefold().replace(",", "").split()) & STOP):
        return False
    words = name.replace(",", "").split()
    if one:
        return len(name) > 1 and len(words) <= 4
    return 2 <= len(words) <= 6 and (sure or not words[0].islower())


def in_text(text: str) -> bool:
    """Whether a text names somebody, after a form of address or a label."""
    return TITLED.search(text) is not None or LABELLED.search(text) is not None
