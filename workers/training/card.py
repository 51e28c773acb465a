"""The model card: what made a model, what it was measured on, what it was not."""

import re
from dataclasses import dataclass
from pathlib import Path

WARNING = "Research, not validated on clinical data. Not a medical device."
USES = {
    "detector": "finds places in chest CT that may be lung nodules (centre, diameter, score)",
    "segmenter": "outlines one nodule whose centre and rough diameter are given",
    "classifier": "looks at the detector's candidates again: nodule or not",
    "composition": "names a nodule solid, part-solid or ground glass by the densities inside its outline",
}
HELD_OUT = (
    "LIDC-IDRI patients 0001 and 0003 took no part. Real nodules are split by patient: about 15 % of the patients",
    "are held out (by the hash of their name) and are the only real nodules measured on below.",
)
FOLDED = (
    "LIDC-IDRI patients 0001 and 0003 took no part. Every nodule below is judged by a model that never saw its patient",
    "(five folds by the hash of the name); the weights that are shipped are fitted to all of them. The segmenter that",
    "outlined them was trained on 85 % of the patients.",
)
NOT_TESTED = (
    "Whole scans with reader truth beyond the two LIDC-IDRI test scans named in tests/models; no screening cohort.",
    "Children, lungs after surgery, scans with metal in the chest, motion beyond what the real slices show.",
    "Agreement with several readers; change over time; malignancy (no such output).",
    "Manufacturers, kernels and doses by group: there are too few scans to say anything.",
)


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    interval: tuple[float, float] | None
    """95 %."""
    n: int
    on: str
    """What it was measured on."""


Figures = tuple[Figure, ...]


@dataclass(frozen=True)
class Card:
    """Everything a card says."""

    model: str
    version: str
    sha256: str
    command: str
    commit: str
    minutes: float
    manifest: tuple[tuple[str, str, str], ...]
    figures: Figures


FIVE = "## Five folds"
HEADER = "| what | value | 95 % interval | n | on |\n|---|---|---|---|---|\n"


def with_figures(card: str, figures: Figures, by: str) -> str:
    """A card with other figures, and `by` what they were measured. Raises ValueError for what is no card."""
    head, _, rest = card.partition(HEADER)
    if not rest:
        raise ValueError("this is no card of a model")
    head = re.sub(r"\| measured again by \|.*\n", "", head)
    head = head.replace("\n\n## Data", f"\n| measured again by | {by} |\n\n## Data")
    return head + HEADER + _rows(figures) + "\n" + rest[rest.index("\n\n") + 1 :]


def with_folds(card: str, figures: Figures, by: str) -> str:
    """A card with what five models on five folds of the patients showed, `by` a command; in place of an earlier one."""
    card = re.sub(rf"\n{re.escape(FIVE)}\n.*?(?=\n## )", "", card, flags=re.DOTALL)
    lines = [
        FIVE,
        "",
        f"Made by {by}: five models, trained like the one above but shorter or longer as the command says, each",
        "measured on the patients that it never saw. The weights above are none of theirs.",
        "",
        HEADER + _rows(figures),
        "",
    ]
    at = card.index("\n## Never tested")
    return card[:at] + "\n" + "\n".join(lines) + card[at:]


def _rows(figures: Figures) -> str:
    return "\n".join(
        f"| {one.name} | {one.value:.3f} | {_interval(one.interval)} | {one.n} | {one.on} |" for one in figures
    )


def write_card(card: Card, path: Path) -> None:
    """Write the card as Markdown."""
    sources = [f"| {name} | `{digest}` | {licence} |" for name, digest, licence in card.manifest]
    lines = [
        f"# {card.model} {card.version}",
        "",
        f"**{WARNING}**",
        "",
        f"It {USES[card.model]}.",
        "",
        "| | |",
        "|---|---|",
        f"| weights, SHA-256 | `{card.sha256}` |",
        f"| made by | `{card.command}` (DATA: the folder of real data) |",
        f"| commit | `{card.commit}` |",
        f"| training time | {card.minutes:.0f} min on the machine that made it |",
        "",
        "## Data",
        "",
        "| source | SHA-256 over names and contents | licence |",
        "|---|---|---|",
        *sources,
        "",
        *(FOLDED if card.model == "composition" else HELD_OUT),
        "",
        "## Measured",
        "",
        HEADER + _rows(card.figures),
        "",
        "Results on phantoms are results on phantoms. Nodules that were put into other lungs are easier or harder than",
        "those that grew there; the numbers rank models, they do not promise a clinic anything.",
        "",
        "## Never tested",
        "",
        *[f"- {line}" for line in NOT_TESTED],
    ]
    path.write_text("\n".join(lines) + "\n")


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
