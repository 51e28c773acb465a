"""A database as the first release left it (migration 0001), with something in every state; written without our code."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, insert, select

from tests.flow import SEG_CLASS, SR_CLASS
from tests.keeping import write_result

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=3)
SLICES = 40
CT = "1.2.840.10008.5.1.4.1.1.2"
ANALYSIS, NOTICE = "analysis", "notice"
JOBS: dict[str, list[tuple[str, str, str]]] = {
    "receiving": [],
    "queued": [(ANALYSIS, "queued", "")],
    "running": [(ANALYSIS, "running", "")],
    "held": [(ANALYSIS, "done", "held")],
    "due": [(ANALYSIS, "done", "due")],
    "delivered": [(ANALYSIS, "done", "delivered")],
    "refused": [(ANALYSIS, "done", "refused")],
    "dead": [(ANALYSIS, "dead", ""), (NOTICE, "done", "delivered")],
    "superseded": [(ANALYSIS, "superseded", "delivered"), (ANALYSIS, "done", "due")],
    "unseen": [(ANALYSIS, "superseded", "cancelled"), (ANALYSIS, "done", "delivered")],
    "cancelled": [(ANALYSIS, "cancelled", "")],
    "conflict": [(NOTICE, "done", "delivered")],
    "nothing": [],
}
"""Studies by name; of each its jobs, oldest first: kind, state, and the state of their results."""
OUTCOMES = {
    **dict.fromkeys(("dead", "conflict", "nothing"), "not analysed"),
    **dict.fromkeys(("receiving", "queued", "running", "cancelled"), ""),
}


def uid(*parts: object) -> str:
    """A UID of its own for each thing."""
    return f"2.25.{int(hashlib.sha256(repr(parts).encode()).hexdigest()[:30], 16)}"


class FirstRelease:
    """Fills a database, and writes the results that it names."""

    def __init__(self, engine: Engine, data: Path, pacs_port: int, key: bytes) -> None:
        self._tables = MetaData()
        self._tables.reflect(engine)
        self._data, self._port, self._key = data, pacs_port, key

    def fill(self, connection: Connection) -> None:
        """Everything."""
        self._add(connection, "patient", patient_id="P1", issuer_of_patient_id="", patient_name="First^Release",
                  patient_birth_date="19500101", patient_sex="F", identity="1" * 64)  # fmt: skip
        self._add(connection, "installation", id=1, serial="first")
        self._add(connection, "worker", name="old-1", slots=1, seen_at=LONG_AGO)
        self._peers(connection)
        for name, jobs in JOBS.items():
            study_id, series_id = self._study(connection, name)
            earlier = None
            for number, job in enumerate(jobs):
                earlier = self._job(connection, (study_id, series_id, number + 1), job, earlier)
        self._audit(connection)

    def _add(self, connection: Connection, table: str, **values: Any) -> int:
        key = connection.execute(insert(self._tables.tables[table]).values(**values)).inserted_primary_key
        return int(key[0]) if key is not None and isinstance(key[0], int) else 0

    def _peers(self, connection: Connection) -> None:
        for standing, configured, network in (("allowed", 1, "127.0.0.0/8"), ("pending", 0, "10.0.0.5/32"),
                                              ("denied", 0, "10.0.0.6/32")):  # fmt: skip
            refusals = 0 if configured else 7
            self._add(connection, "sender", ae_title="*" if configured else "CT1", network=network, standing=standing,
                      configured=configured, gapless_quiet_s=3.0, quiet_s=15.0, refusals=refusals,
                      last_refused_at=LONG_AGO if refusals else None)  # fmt: skip
        for ae_title, port, enabled in (("PACS", self._port, 1), ("GONE", 104, 0)):
            self._add(connection, "destination", ae_title=ae_title, host="127.0.0.1", port=port, results=["SEG", "SR"],
                      not_analysed=1, enabled=enabled)  # fmt: skip

    def _study(self, connection: Connection, name: str) -> tuple[int, int]:
        opened = name == "receiving"
        state = "receiving" if opened else "complete"
        at = {"first_received_at": LONG_AGO, "last_received_at": LONG_AGO, "last_association_id": "a-1",
              "calling_ae_title": "CT1", "address": "127.0.0.1"}  # fmt: skip
        outcome = OUTCOMES.get(name, "findings")
        study_id = self._add(
            connection, "study", patient_id=1, study_instance_uid=uid(name), study_date="20240101", study_time="",
            accession_number="A1", study_id="", study_description="CT", referring_physician_name="", state=state,
            revision=len(JOBS[name]), evidence="" if opened else "quiet", outcome=outcome,
            reasons=["There is no CT image in the study."] if outcome == "not analysed" else [],
            conflicts=int(name == "conflict"), completed_at=None if opened else LONG_AGO, **at,
        )  # fmt: skip
        series_id = self._add(
            connection, "series", study_id=study_id, series_instance_uid=uid(name, "series"), modality="CT",
            series_number=1, series_description="Thorax", body_part_examined="CHEST", state=state,
            evidence="" if opened else "gapless", eligibility="" if opened else "full", reasons=[],
            score=[] if opened else [3.0, 1.0], **at,
            digest="" if opened else hashlib.sha256(name.encode()).hexdigest(),
        )  # fmt: skip
        for number in range(SLICES if opened else 1):
            self._image(connection, name, series_id, number)
        if name == "conflict":
            self._image(connection, name, series_id, 0, version="conflict")
        return study_id, series_id

    def _image(
        self, connection: Connection, name: str, series_id: int, number: int, version: str = "authoritative"
    ) -> None:
        header = _header(name, number)
        self._add(
            connection, "instance", series_id=series_id, sop_instance_uid=header["sop_instance_uid"], sop_class_uid=CT,
            transfer_syntax_uid="1.2.840.10008.1.2.1", instance_number=number + 1, rows=4, columns=4, header=header,
            path=f"spool/instances/000/{name}-{number}-{version}.dcm", digest="d" * 64, size=1000, version=version,
            received_at=LONG_AGO, association_id="a-1", calling_ae_title="CT1",
        )  # fmt: skip

    def _job(
        self, connection: Connection, place: tuple[int, int, int], job: tuple[str, str, str], earlier: int | None
    ) -> int:
        (study_id, series_id, revision), (kind, state, delivery) = place, job
        running, ended = state == "running", state in ("done", "dead", "superseded")
        job_id = self._add(
            connection, "job", study_id=study_id, series_id=series_id, revision=revision, pipeline="lung-nodule",
            kind=kind, state=state, priority=0, digest="e" * 64, predecessor_job_id=earlier,
            attempts=int(ended or running), token="t" if running else "", worker="old-1" if running else "",
            created_at=LONG_AGO, not_before=LONG_AGO,
            published_at=None, started_at=LONG_AGO if ended or running else None,
            lease_until=LONG_AGO if running else None, finished_at=LONG_AGO if ended else None, stage="", progress=0,
            outcome="findings" if state == "done" else "", reasons=[], failure="unknown" if state == "dead" else "",
            failure_text="", model_version="1", weights_sha256="f" * 64, timings={"read": 1.5},
        )  # fmt: skip
        if delivery:
            self._add(connection, "finding", job_id=job_id, ordinal=1, confidence=0.9, type="solid", side="left",
                      mean_diameter_mm=7.5, volume_mm3=None, content={"first": "release"})  # fmt: skip
            for result_kind in ("SEG", "SR") if kind == ANALYSIS else ("SR",):
                self._result(
                    connection, job_id, uid_of_study(connection, self._tables, study_id), result_kind, delivery
                )
        return job_id

    def _result(self, connection: Connection, job_id: int, study_uid: str, kind: str, delivery: str) -> None:
        path, sop_class = f"results/{job_id}/t/{kind}-0.dcm", SEG_CLASS if kind == "SEG" else SR_CLASS
        sop_uid = uid("result", job_id, kind)
        write_result(self._data / path, sop_class, sop_uid, study_uid, "101112")
        self._add(connection, "result", job_id=job_id, kind=kind, rung=0, sop_class_uid=sop_class, path=path,
                  sop_instance_uid=sop_uid, series_instance_uid=uid("result series", job_id, kind),
                  sha256=hashlib.sha256((self._data / path).read_bytes()).hexdigest())  # fmt: skip
        tried = delivery in ("delivered", "refused")
        self._add(connection, "outbox", job_id=job_id, destination_id=1, kind=kind, state=delivery,
                  sop_instance_uid=sop_uid if tried else None, attempts=int(tried), failures=int(delivery == "due"),
                  status={"delivered": 0, "refused": 0xC000}.get(delivery), error="", created_at=LONG_AGO,
                  not_before=LONG_AGO, delivered_at=LONG_AGO if delivery == "delivered" else None)  # fmt: skip

    def _audit(self, connection: Connection) -> None:
        """PS3.15 has no chain: ours is HMAC-SHA-256 over the previous hash and all fields as JSON."""
        previous = "0" * 64
        for seq in range(1, 21):
            fields = [seq, (LONG_AGO + timedelta(seconds=seq)).isoformat(), "instances registered", 0, "CT1",
                      "127.0.0.1", uid("due"), None, json.dumps({"new": seq})]  # fmt: skip
            previous = hmac.new(self._key, json.dumps([previous, *fields]).encode(), hashlib.sha256).hexdigest()
            names = ("seq", "at", "kind", "outcome", "actor", "address", "study_instance_uid", "job_id", "detail")
            self._add(connection, "audit", **dict(zip(names, fields, strict=True)), hash=previous)
        head = self._tables.tables["audit_head"]
        connection.execute(head.update().values(seq=20, hash=previous))


def uid_of_study(connection: Connection, tables: MetaData, study_id: int) -> str:
    """Study Instance UID of a row."""
    study = tables.tables["study"]
    return str(connection.execute(select(study.c.study_instance_uid).where(study.c.id == study_id)).scalar_one())


def _header(name: str, number: int) -> dict[str, Any]:
    """What the first release kept of a CT image."""
    frame = {"position": [-150.0, -150.0, -200.0 + 5 * number], "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}
    return {
        "sop_instance_uid": uid(name, number), "sop_class_uid": CT, "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "study_instance_uid": uid(name), "series_instance_uid": uid(name, "series"), "patient_id": "P1",
        "issuer_of_patient_id": "", "patient_name": "First^Release", "patient_birth_date": "19500101",
        "patient_sex": "F", "study_date": "20240101", "study_time": "", "accession_number": "A1", "study_id": "",
        "study_description": "CT", "referring_physician_name": "", "modality": "CT", "series_number": 1,
        "series_description": "Thorax", "body_part_examined": "CHEST", "protocol_name": "",
        "frame_of_reference_uid": uid(name, "frame"), "instance_number": number + 1, "rows": 4, "columns": 4,
        "ct": {
            "frames": [frame], "image_type": ["ORIGINAL", "PRIMARY", "AXIAL"], "rows": 4, "columns": 4,
            "pixel_spacing_mm": [0.7, 0.7], "slice_thickness_mm": 5.0, "gantry_tilt_deg": None,
            "convolution_kernel": "", "contrast": False, "lossy": False, "burned_in": False, "rescaled": True,
            "acquisition_number": 1, "content_time": "101112", "patient_age_years": 64,
        },
    }  # fmt: skip
