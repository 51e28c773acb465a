"""Five models of one kind, each measured on the patients that it never saw; none of them is shipped."""

from dataclasses import replace

from node.errors import SettingsError
from workers.networks import weights
from workers.networks.segmenter import Segmenter
from workers.training.card import with_folds
from workers.training.make import CARDS, VERSION, Order, check_length, commit, gather, learned, run_of
from workers.training.measure_segmenter import Outline, figures_of, outlines
from workers.training.progress import Report, progress
from workers.training.real import FOLDS


def make_folds(order: Order, report: Report) -> None:
    """Train them into `out`/fold-K, measure them, and put what came of it into the card of the installed model.

    A fold that was made before is taken as it is, and one that was interrupted goes on.

    Raises SettingsError where there is no real data, no length, the model is not the segmenter, or it shall be
    installed or measured as well.
    """
    if order.model != "segmenter" or order.real is None:
        raise SettingsError(
            "Folds are of the segmenter and of real patients: give --real. Composition has them always."
        )
    if order.install or order.measure:
        raise SettingsError("Folds are for measuring alone: give --folds without --install and --measure.")
    check_length(order)
    rows = [row for fold in range(FOLDS) for row in _fold(order, fold, report)]
    figures = figures_of(rows)
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n})")
    path = CARDS / f"{order.model}.md"
    path.write_text(with_folds(path.read_text(), figures, f"`{order.command} --folds` at commit `{commit()}`"))
    report(f"wrote {path}")


def _fold(order: Order, fold: int, report: Report) -> list[Outline]:
    """What the model of one fold makes of the patients that it never saw."""
    own = replace(order, out=order.out / f"fold-{fold}")
    own.out.mkdir(parents=True, exist_ok=True)
    path = own.out / f"{order.model}-{VERSION}.safetensors"
    with progress(report) as (say, advance):
        data = gather(order.real, order.out / "cache", say, fold)
        if not path.is_file():
            weights.save(learned(own, run_of(own, advance), data.training, say), path)
        network = weights.read(order.model, path)
        assert isinstance(network, Segmenter)
        return outlines(network, data.validation)
