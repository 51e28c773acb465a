"""`python -m tests.odd`: every odd file of a corpus to a node of its own; prints file, way, status and ending."""

import sys
import tempfile
import warnings
from pathlib import Path

import click

from tests.odd.ways import dcmsend, offer_all
from tests.realdata import DATA
from tests.servers import HASTY, nodus


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path, file_okay=False, exists=True), default=DATA / "corpus")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table here instead of printing it.")
def table(corpus: Path, out: Path | None) -> None:
    """Tab-separated: file, how it was sent, status, stored or refused and why."""
    warnings.simplefilter("ignore")  # pydicom's, about odd files
    with tempfile.TemporaryDirectory(prefix="nodus-odd-") as folder, nodus(Path(folder, "data"), senders=HASTY) as node:
        with click.progressbar(length=len([*corpus.rglob("*")]), file=sys.stderr, label="files") as bar:
            said = dcmsend(node, corpus, Path(folder, "report"))
            rows = [each.row for each in offer_all(node, corpus, lambda _: bar.update(1))]
        rows += [f"{name}\tdcmsend\t{status}" for name, status in sorted(said.items())]
    text = "\n".join(["file\tpath\tstatus\tending", *sorted(rows)]) + "\n"
    if out:
        out.write_text(text)
    else:
        click.echo(text, nl=False)


if __name__ == "__main__":
    table()
