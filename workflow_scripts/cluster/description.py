"""The description of the cluster, profiles/slurm/cluster.yaml: the one place with account, partitions, GPU model and limits."""

from pathlib import Path
from typing import Any

from ..common import tables
from ..common.cli import UserError

PATH = tables.ROOT / "profiles" / "slurm" / "cluster.yaml"
Cluster = dict[str, Any]


def read(path: Path = PATH) -> Cluster:
    """The checked description. Raises `UserError` for broken YAML, an unknown key or a value out of range."""
    import yaml

    try:
        cluster = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    tables.check(cluster, tables.SCHEMAS / "cluster.schema.json", f"profiles/slurm/{path.name}")
    return cluster
