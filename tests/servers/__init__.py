"""Real neighbours on free ports: PostgreSQL, Redis, Orthanc, DCMTK's storescp, rsyslog, and a Nodus node of our own."""

from tests.servers.collector import Repository, audit_repository
from tests.servers.databases import Postgres, postgres, redis
from tests.servers.node import HASTY, Nodus, nodus
from tests.servers.pacs import AnsweringPacs, Orthanc, StoreScp, answering_pacs, orthanc, storescp
from tests.servers.processes import Page, answers, dcmtk, dcmtk_environment, eventually, fetch, free_port, run_dcmtk

__all__ = [
    "HASTY",
    "AnsweringPacs",
    "Nodus",
    "Orthanc",
    "Page",
    "Postgres",
    "Repository",
    "StoreScp",
    "answering_pacs",
    "answers",
    "audit_repository",
    "dcmtk",
    "dcmtk_environment",
    "eventually",
    "fetch",
    "free_port",
    "nodus",
    "orthanc",
    "postgres",
    "redis",
    "run_dcmtk",
    "storescp",
]
