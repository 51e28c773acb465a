"""`nodus resend`."""

import click

from node.admin import resend as again
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.settings import Settings


@cli.command()
@click.argument("study", metavar="STUDY_INSTANCE_UID")
@click.option("--to", metavar="AET", default="", help="Only to this destination.")
@click.option("--delivered", is_flag=True, help="Also what the destination took: it lost it.")
@click.option("--images", is_flag=True, help="Forward its images again, not its results.")
@shown
@with_settings
def resend(settings: Settings, study: str, to: str, delivered: bool, images: bool) -> View:
    """Send the results of a study again that a destination refused, or its images."""
    return (again.resend_images if images else again.resend)(settings, study, to, delivered)
