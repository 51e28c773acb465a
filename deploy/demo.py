"""Scanner to PACS on one machine: a synthetic chest CT goes in over DICOM, a report and a segmentation come back.

Everything that a hospital would put around Nodus is stood in for here by pynetdicom: a scanner that sends, and a PACS
that stores what it gets. Nodus itself runs as in production, as one `nodus up`.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from rich.console import Console
from rich.table import Table

from node.dicom.answers import keep_answers
from node.dicom.contexts import RESULT_SOP_CLASSES

DEADLINE_S = 240.0
DIAMETER, VOLUME, TRACKING, GROUP, COMMENT = "81827009", "118565006", "112039", "125007", "121106"
TYPE, SIDE = "RID6037", "272741003"
NOT_ANALYSED = "111245"
"""Value of the summary of algorithms: none succeeded."""


@dataclass
class Pacs:
    """Stores every result that it gets."""

    folder: Path
    came: dict[str, tuple[Path, float]] = field(default_factory=dict)
    """SOP class to file and moment."""
    changed: threading.Event = field(default_factory=threading.Event)

    def store(self, event: evt.Event) -> int:
        """Keep one instance."""
        ds = event.dataset
        ds.file_meta = event.file_meta
        path = self.folder / f"{ds.Modality}-{ds.SeriesNumber}.dcm"
        ds.save_as(path, enforce_file_format=True)
        self.came[str(ds.SOPClassUID)] = (path, time.monotonic())
        self.changed.set()
        return 0x0000


@contextmanager
def pacs(folder: Path) -> Iterator[tuple[Pacs, int]]:
    """A test PACS on a free port."""
    folder.mkdir(parents=True)
    store = Pacs(folder)
    ae = AE("TESTPACS")
    contexts = [build_context(each, ExplicitVRLittleEndian) for each in RESULT_SOP_CLASSES]
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=[(evt.EVT_C_STORE, store.store)]
    )
    try:
        yield store, server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def node(folder: Path, pacs_port: int) -> Iterator[int]:
    """`nodus up`, from its READY line to SIGTERM; yields its DICOM port."""
    config = folder / "nodus.toml"
    config.write_text(
        '[[destinations]]\nae_title = "TESTPACS"\nhost = "127.0.0.1"\n'
        f'port = {pacs_port}\nresults = ["SEG", "SR", "SC"]\n'
    )
    command = [sys.executable, "-m", "node", "up", "--config", str(config), "--data", str(folder / "data")]
    log = (folder / "node.log").open("wb")
    environment = {**os.environ, "NODUS_MINIMUM_FREE_GIB": "1", "NODUS_MINIMUM_FREE_FRACTION": "0"}
    process = subprocess.Popen(
        [*command, "--port", "0", "--web-port", "0"], stdout=subprocess.PIPE, stderr=log, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith("READY "):
            raise click.ClickException(f"The node did not start; see {folder / 'node.log'}.")
        yield json.loads(line.removeprefix("READY "))["dicom_port"]
    finally:
        process.terminate()
        process.wait(15)
        log.close()


def send(files: list[Path], port: int) -> float:
    """C-STORE a series as a scanner does; returns the moment after the last image was acknowledged."""
    ae = AE("SCANNER")
    first = dcmread(files[0], stop_before_pixels=True)
    ae.add_requested_context(first.SOPClassUID, first.file_meta.TransferSyntaxUID)
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS"))
    if not association.is_established:
        raise click.ClickException("The node did not accept the scanner.")
    for file in files:
        if association.send_c_store(dcmread(file)).get("Status") != 0x0000:
            raise click.ClickException("The node refused an image.")
    last = time.monotonic()
    association.release()
    return last


def wait_for(store: Pacs, *sop_classes: str) -> tuple[Path, float]:
    """A result of one of these classes, when it has come."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := [store.came[each] for each in sop_classes if each in store.came]):
        left = deadline - time.monotonic()
        if left <= 0 or not store.changed.wait(left):
            raise click.ClickException("No result came in time; see demo/node.log.")
        store.changed.clear()
    return found[0]


def items_of(report: Dataset) -> Iterator[Dataset]:
    """Every content item below a report or an item; what lies deeper comes first."""
    for item in report.get("ContentSequence", []):
        yield from items_of(item)
        yield item


def groups(report: Dataset) -> Iterator[dict[str, str]]:
    """The measurement groups of a report, as name to value; the side lies below the site."""
    for item in items_of(report):
        if _name(item) == GROUP:
            yield {_name(each): _value(each) for each in items_of(item) if "ConceptNameCodeSequence" in each}


def is_notice(report: Dataset) -> bool:
    """Whether a report only says that the study was not analysed."""
    return any(str(code.CodeValue) == NOT_ANALYSED for item in items_of(report) for code in _codes(item))


def texts(report: Dataset) -> list[str]:
    """The sentences for people at the top of a report."""
    return [_value(item) for item in report.get("ContentSequence", []) if _name(item) == COMMENT]


def _codes(item: Dataset) -> Sequence[Dataset]:
    codes: Sequence[Dataset] = item.get("ConceptCodeSequence", [])
    return codes


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _value(item: Dataset) -> str:
    if "MeasuredValueSequence" in item:
        return str(item.MeasuredValueSequence[0].NumericValue)
    if _codes(item):
        return str(_codes(item)[0].CodeMeaning)
    return str(item.get("TextValue", ""))


def show(console: Console, report: Dataset) -> None:
    """The findings of a report as a table."""
    table = Table("finding", "type", "side", "diameter mm", "volume mm3", title="What the PACS got")
    for group in groups(report):
        if DIAMETER in group:
            type_, side = group.get(TYPE, ""), group.get(SIDE, "")
            table.add_row(group.get(TRACKING, ""), type_, side, group[DIAMETER], group.get(VOLUME, "not measured"))
    console.print(table)


@click.command()
@click.option("--seed", default=1, show_default=True, help="Which phantom.")
@click.option("--out", default=Path("demo"), type=click.Path(path_type=Path), help="Folder, replaced.  [demo]")
def main(seed: int, out: Path) -> None:
    """Run the demonstration."""
    console = Console()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    console.print(f"Drawing a chest CT with known nodules (seed {seed}) ...")
    subprocess.run([sys.executable, "-m", "node", "phantom", "--seed", str(seed), "--out", str(out / "ct")], check=True)
    files = sorted((out / "ct" / "dicom").glob("*.dcm"))
    with pacs(out / "pacs") as (store, pacs_port), node(out, pacs_port) as port:
        console.print(f"Sending {len(files)} images over DICOM ...")
        last = send(files, port)
        console.print("Waiting for the answer in the PACS ...")
        report, came = wait_for(store, *(each for each in RESULT_SOP_CLASSES if ".88." in each))
        if is_notice(dcmread(report)):
            raise click.ClickException("\n".join(texts(dcmread(report))))
        picture, _ = wait_for(store, SecondaryCaptureImageStorage)
    Image.fromarray(dcmread(picture).pixel_array).save(out / "summary.png")
    show(console, dcmread(report))
    console.print(f"Report:        {report}")
    if SegmentationStorage in store.came:
        console.print(f"Segmentation:  {store.came[SegmentationStorage][0]}")
    console.print(f"Picture:       {out / 'summary.png'}")
    console.print(f"Truth:         {out / 'ct' / 'truth.csv'}")
    console.print(f"From the last image to the report in the PACS: {came - last:.1f} s")


if __name__ == "__main__":
    main()
