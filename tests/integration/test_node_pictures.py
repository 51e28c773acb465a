"""Picture strips lie beside the results of a job: they come back from a backup, and go when the results go."""

from pathlib import Path

from node import backup
from node.audit.anchor import Anchors
from node.catalog import tables
from node.catalog.session import Catalog
from node.pictures import strip_name, strips_in
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.keeping import Keeping


def with_strips(catalog: Catalog, spool: Spool, data: Path) -> tuple[Keeping, Path]:
    """A finished study with two strips, and the folder of its results."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    keeping = Keeping.on(catalog, spool, data)
    with catalog.writing() as session:
        session.execute(tables.installation.insert().values(id=1, serial="S1"))
    keeping.finished("1")
    folder = data / "results" / "1" / "claim"
    for label in ("N1", "N2"):
        (folder / strip_name(label)).write_bytes(label.encode())
    return keeping, folder


def test_a_backup_holds_the_strips_beside_results(catalog: Catalog, spool: Spool, data: Path, tmp_path: Path) -> None:
    _, folder = with_strips(catalog, spool, data)
    backup.make(backup.Source(catalog, spool, data, Anchors(data / "audit.anchors")), tmp_path / "kept")
    kept = strips_in(tmp_path / "kept" / folder.relative_to(data))
    assert {path.name: path.read_bytes() for path in kept} == {"strip-N1.png": b"N1", "strip-N2.png": b"N2"}
    backup.make(backup.Source(catalog, spool, data, Anchors(data / "audit.anchors")), tmp_path / "kept")
    assert len(strips_in(tmp_path / "kept" / folder.relative_to(data))) == 2


def test_strips_go_with_the_results_of_their_study(catalog: Catalog, spool: Spool, data: Path) -> None:
    keeping, folder = with_strips(catalog, spool, data)
    assert keeping.retain().step() is False
    assert (keeping.images(), folder.parent.exists()) == (0, False)
