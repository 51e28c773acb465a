"""flow/senders.py: what was asked for once is done, also where the database fails that moment."""

from pathlib import Path

import pytest

from node.catalog.session import Catalog
from node.domain.peers import Sender, Standing
from node.flow import senders

CT1 = Sender("CT1", "10.0.0.5/32", Standing.ALLOWED)


def test_senders_asked_for_while_the_database_fails_are_read_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/nodus.db", b"key")
    catalog.migrate()
    told: list[tuple[Sender, ...]] = []
    reading = senders.Senders(catalog, told.append, lambda: [CT1])
    reading.read_again()
    with monkeypatch.context() as broken:
        broken.setattr("node.catalog.audit.chain", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reading.step()
    reading.step()
    assert told == [(CT1,)]
    catalog.close()
