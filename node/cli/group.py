"""The command `nodus`, before it has any commands."""

import click

from node.cli.options import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, expose_value=False, help="Show stack traces; may stand anywhere.")
@click.version_option(package_name="nodus")
def cli() -> None:
    """Nodus: a DICOM node that reads chest CT with AI and answers in the PACS's own language."""
