"""`python -m tests.ohif IMAGES RESULTS --viewer DIR --out FILE`: CT, SEG and SR in the OHIF viewer, as a picture.

The viewer is others' built program, fetched once and never committed:

    npm pack @ohif/app@3.13.2 && tar xzf ohif-app-3.13.2.tgz && python -m tests.ohif ... --viewer package/dist
"""

import sys
import tempfile
import urllib.request
from pathlib import Path

import click
from pydicom import dcmread

from tests.ohif.browser import Page, browser
from tests.ohif.origin import served
from tests.servers.pacs import Orthanc, orthanc

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
SERIES = "[...document.querySelectorAll('[data-cy^=study-browser-thumbnail]')]"
OF_SERIES = SERIES + ".find(each => each.innerText.includes('AI Lung Nodule {}'))"
WITH_TEXT = "[...document.querySelectorAll('*')].filter(each => (each.innerText || '').trim() === '{}').pop()"


@click.command()
@click.argument("images", type=FOLDER)
@click.argument("results", type=FOLDER)
@click.option("--viewer", type=FOLDER, required=True, help="Folder of the built viewer, with index.html.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The picture, PNG.")
def show(images: Path, results: Path, viewer: Path, out: Path) -> None:
    """Put both folders into an Orthanc, open the study in OHIF, and take a picture of it."""
    if not PLUGIN.exists():
        sys.exit(f"{PLUGIN} is missing: install orthanc-dicomweb")
    with (
        tempfile.TemporaryDirectory(prefix="nodus-ohif-") as folder,
        orthanc(Path(folder), plugins=[PLUGIN]) as pacs,
        served(viewer, pacs.http_port) as address,
    ):
        study = _store(pacs, [*sorted(images.rglob("*.dcm")), *sorted(results.glob("*.dcm"))])
        with browser(Path(folder, "chromium.log")) as page:
            _look(page, f"{address}/viewer?StudyInstanceUIDs={study}", out)


def _store(pacs: Orthanc, paths: list[Path]) -> str:
    with click.progressbar(paths, label="into Orthanc", file=sys.stderr) as bar:
        for path in bar:
            url = f"http://127.0.0.1:{pacs.http_port}/instances"
            urllib.request.urlopen(urllib.request.Request(url, path.read_bytes(), method="POST"), timeout=60).close()
    return str(dcmread(paths[-1], stop_before_pixels=True).StudyInstanceUID)


def _look(page: Page, url: str, out: Path) -> None:
    """Segmentation over the images on the left, the report's outline and measurements on the right."""
    page.open(url)
    page.wait_for(f"{SERIES}.length > 2 && document.body.innerText.includes('Skip all')")  # a tour that it begins with
    page.click(WITH_TEXT.format("Skip all"))
    for button in ("panelSegmentation-btn", "Layout", "Layout-1-0"):
        page.click(f"document.querySelector('[data-cy={button}]')")
    panes = "document.querySelectorAll('[data-cy=viewport-pane]')"
    page.wait_for(f"{panes}.length == 2")
    page.click(f"{panes}[1]")
    page.click(OF_SERIES.format("SR"), times=2)
    page.wait_for(f"{panes}[1].innerText.includes('Diameter:')")
    page.click(f"{panes}[0]")
    page.click(OF_SERIES.format("SEG"), times=2)
    page.click(WITH_TEXT.format("Nodule 1"))
    page.still_picture(out)
    click.echo(page.run(f"{panes}[1].innerText"))


if __name__ == "__main__":
    show()
