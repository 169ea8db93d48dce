"""The forms of identifiers that no check digit proves: addresses, references, places, telephone and record numbers.

The forms follow RFC 5322 (mail), RFC 3986 (web), RFC 4291 (IPv6), DICOM PS3.5 (object identifiers), HL7 FHIR R5
(references), the North American Numbering Plan and ISO 6709 (places), as far as texts of hospitals use them.
"""

from __future__ import annotations

import re

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,24}(?![\w-])")
PERSONNUMMER = re.compile(
    r"(?<![\d-])(?<!\d\.)(?:(?:19|20)?\d{6}[-+–— ]?|(?:19|20)\d\d-\d\d-\d\d[-+–— ])\d{4}(?!\d|\.\d)"
)
US_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
STREET = re.compile(
    r"(?i:\b[\w.'-]*(?:street|road|avenue|lane|gatan|gata|vägen|väg|gränd|torg|straße|strasse|str\.|weg|platz|allee"
    r"|gasse|vej|katu|tie|straat|laan|ulica|utca)\s+\d{1,4} ?[A-Za-z]?\b)"
    r"|\b\d{1,5}\s+(?:[A-Z][\w.'-]*\s+){1,3}(?i:Street|St\.?|Road|Rd\.?|Avenue|Ave\.?|Lane|Drive|Court|Boulevard)\b"
    r"|\b\d{1,4}(?: ?bis| ?ter)?,? (?i:rue|avenue|boulevard|chemin|impasse|allée|quai)"
    r" (?:de la |de |du |des |la |le |les |l'|d')*[A-ZÀ-Þ]\w{2,}"
    r"|\b(?i:via|viale|piazza|corso|calle|avenida|avda\.|plaza|rua|praça|ul\.)"
    r" (?:(?:de|del|della|dei|di|da|do|dos|la|las|los|san) )*[A-ZÀ-Þ]\w+(?:[ ,.]+\w+){0,3}?[ ,.]+\d{1,4}\b"
)
UID = re.compile(r"(?<![\w.])(?:urn:oid:)?[0-2](?:\.\d+){4,}(?![\w]|\.\d)")
"""An object identifier, such as DICOM's for a study; it names no person."""
IP = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}(?![\w:])",
    re.IGNORECASE,
)
URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"']+|\bwww\.[^\s<>\"']+", re.IGNORECASE)
OWN_PAGE = re.compile(r"\d{3}|[0-9a-f]{8}-[0-9a-f]{4}|[?&=@]|/~")
"""What makes an address on the web one of a single person or record: a number, a query, a user."""
UUID = re.compile(r"(?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-])", re.IGNORECASE)
MOMENT = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\d-])")
FHIR = re.compile(
    r"(?<![\w])(?:Patient|RelatedPerson|Person|Practitioner|Encounter|EpisodeOfCare|Coverage)"
    r"/(?=[\w.-]*\d)[A-Za-z0-9.-]{1,64}"
    r"|urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
)
MAC = re.compile(r"(?<![\w:-])(?:[0-9A-F]{2}[:-]){5}[0-9A-F]{2}(?![\w:-])", re.IGNORECASE)
PLACE = re.compile(
    r"(?<![\w.,])[-+]?(?:[1-8]?\d|90)\.\d{4,}°?\s*[NS]?\s*[,; ]\s*[-+]?(?:1[0-7]\d|\d?\d|180)\.\d{4,}(?!\w|\.\d)"
)
PRECISE = re.compile(r"\.\d{5,}\D+\d+\.\d{5,}|POINT *\(|°|[NS]\s*[,; ]")
DEGREES = re.compile(
    r"\d{1,2}° ?\d{1,2}['′] ?\d{1,2}(?:\.\d+)?[\"″]? ?[NS]\W{1,3}\d{1,3}° ?\d{1,2}['′]"
    r"|\bPOINT ?\(-?\d+\.\d+ -?\d+\.\d+\)"
)
WHERE = "gps|coord\\w*|coordinates|position|location|geo\\w*|lat|latitude|latlon|lat lon|koordinat\\w*|standort|home"
US_PHONE = re.compile(r"(?<![\w.+-])(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}(?![\w-]|\.\d)")
CALL = (
    "tel|telephone|telefon\\w*|phone|mobile?|mobil\\w*|mob|cell|fax|handy|call\\w*|ring|rufnummer|numéro|kontakt|contact"
    "|whatsapp"
)
MEASURED = (
    "dates?|datum|dato|fecha|days|tage|dagar|dage|jours|weeks|months|years|minutes|min|seconds|duration|dauer|counts?"
    "|anzahl|antal|nombre|total|sum|mean|median|costs?|kosten|price|amount|rate|score"
)
"""Words in a column's name that say that its numbers are dates, durations, counts or amounts."""
REGIONS = ("SE", "US", "GB", "DE", "FR", "IT", "ES", "NL", "DK", "NO", "FI", "AT", "CH", "BE", "IE", "PL", "PT", "AU")
"""Countries whose telephone numbers are known without their prefix, after a word such as tel."""
NUMBERED = (
    "mrn|medical record(?: number| no)?|record (?:number|no|nr|id)|chart (?:number|no)|hospital (?:number|no|id)"
    "|patient (?:number|no|nr|id)|pat nr|pat id|patient\\w*nummer|patient\\w*nr|pid|mpi|empi|case (?:number|no)"
    "|fallnummer|fallnr|journal\\w*(?:nummer|nr)|aktenzeichen|member (?:id|number)|subscriber (?:id|number)"
    "|policy (?:number|no)|insurance (?:number|no|id)|passport(?: number| no)?|driv\\w+ licen[cs]e(?: number| no)?"
    "|person (?:id|nr|number)|subject (?:id|number)|nip|ipp|numero (?:de )?dossier|nhc|historia clinica"
    "|account (?:number|no)|ssn|social security\\w*|social insurance\\w*|nhs (?:number|no)"
    "|national id|personal (?:number|no)"
)
"""Words that announce a number which a hospital, an insurer or a state gives to one person."""
RECORD = re.compile(
    r"[A-Z]{0,5}[-_/ ]?\d{5,12}(?:[-/]\d{1,4})?$|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE
)
RECORD_IN_TEXT = re.compile(
    rf"(?<![^\W_])(?:{NUMBERED}|pat\.?-?(?:nr|id)\.?)(?: no| number| nr)?\.? ?[:#-]? ?"
    r"(?=[\w/-]*\d{4})[A-Z]{0,4}[-/]?\d[\d/-]{3,13}(?![\w])",
    re.IGNORECASE,
)
