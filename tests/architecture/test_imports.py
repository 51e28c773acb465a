"""The contracts of pyproject.toml: they hold, and each would see a violation."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.peers import require

ROOT = Path(__file__).parents[2]
PLANTED = {
    "node never knows the analysis": [
        ("node/flow/register.py", "import numpy"),
        ("node/run.py", "import workers.tasks"),
        ("node/queue.py", "import torch"),
    ],
    "node: imports go down": [
        ("node/catalog/jobs.py", "import node.flow.complete"),
        ("node/dicom/store_scp.py", "import node.catalog.jobs"),
        ("node/errors.py", "import node.domain.job"),
        ("node/web/app.py", "import node.children"),
    ],
    "workers use of node what is theirs to use": [
        ("workers/tasks.py", "import node.dicom.store_scu"),
        ("workers/tasks.py", "import node.queue"),
    ],
    "workers: imports go down, and nobody imports training": [
        ("workers/pipeline.py", "import workers.training"),
        ("workers/volume/planes.py", "import workers.detect"),
        ("workers/evaluation/froc.py", "import workers.assessment"),
        ("workers/detect.py", "import workers.measure"),
    ],
    "the domain is plain Python": [("node/domain/job.py", "import sqlalchemy")],
    "network services and the spool know no SQL": [("node/dicom/query_scp.py", "import sqlalchemy")],
    "only the queue knows Celery": [("node/flow/enqueue.py", "import celery")],
    "only results know highdicom": [("workers/measure.py", "import highdicom")],
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [require("lint-imports", "import-linter"), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def copy_of_the_tree(folder: Path) -> Path:
    for name in ("node", "workers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_every_contract_is_kept() -> None:
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout


def test_every_contract_has_a_violation_here() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(PLANTED)


@pytest.mark.parametrize(
    ("path", "line", "name"), [(*each, name) for name, plants in PLANTED.items() for each in plants]
)
def test_a_planted_violation_breaks_its_contract(tmp_path: Path, path: str, line: str, name: str) -> None:
    tree = copy_of_the_tree(tmp_path)
    with (tree / path).open("a") as file:
        file.write(f"\n{line}\n")
    ended = lint(tree)
    assert ended.returncode == 1
    assert any(text.startswith(f"{name} BROKEN") for text in ended.stdout.splitlines()), ended.stdout


@pytest.mark.parametrize("package", ["node", "workers"])
def test_a_module_without_a_place_in_the_layers_is_noticed(tmp_path: Path, package: str) -> None:
    tree = copy_of_the_tree(tmp_path)
    (tree / package / "newcomer.py").write_text('"""New."""\n')
    ended = lint(tree)
    assert ended.returncode == 1
    assert f"{package}.newcomer" in ended.stdout
