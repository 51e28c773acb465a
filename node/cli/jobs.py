"""`nodus jobs`, and what an operator does with a job or with all of them."""

import click

from node.admin import jobs as job_admin
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.settings import Settings


@cli.command()
@click.option("--state", default="", help="Only jobs in this state.")
@shown
@with_settings
def jobs(settings: Settings, state: str) -> View:
    """Jobs, newest first."""
    return job_admin.jobs(settings, state)


@cli.command()
@click.argument("job", type=int, required=False)
@click.option("--all", "every", is_flag=True, help="Every dead job.")
@shown
@with_settings
def retry(settings: Settings, job: int | None, every: bool) -> View:
    """Do a dead or cancelled job again: its analysis, or its notice that there was none."""
    if every is (job is not None):
        raise click.UsageError("Name one job, or --all.")
    return job_admin.retry_all(settings) if job is None else job_admin.retry(settings, job)


@cli.command()
@click.argument("job", type=int)
@shown
@with_settings
def cancel(settings: Settings, job: int) -> View:
    """Stop an analysis that waits or runs; the study ends as not analysed, and the PACS is told."""
    return job_admin.cancel(settings, job)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("job", type=int)
@click.argument("priority", type=int)
@shown
@with_settings
def prioritise(settings: Settings, job: int, priority: int) -> View:
    """Let a job go earlier (1, 2...) or later (-1, -2...); a step counts like 10 minutes of waiting."""
    return job_admin.prioritise(settings, job, priority)


@cli.command()
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), default=3600.0, show_default=True, metavar="S",
              help="Wait no longer for running jobs.")  # fmt: skip
@click.option("--off", is_flag=True, help="Let jobs begin again.")
@shown
@with_settings
def drain(settings: Settings, timeout_s: float, off: bool) -> View:
    """Before an upgrade: let no job begin, and wait until none runs. Reception and delivery go on."""
    if off:
        return job_admin.end_drain(settings)
    return job_admin.drain(settings, timeout_s, lambda line: click.echo(line, err=True))
