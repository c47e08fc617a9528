"""The description of the cluster, profiles/slurm/cluster.yaml: the one place with account, partitions, GPU model and limits."""

from pathlib import Path
from typing import Any

from ..common import strict_yaml, tables

PATH = tables.ROOT / "profiles" / "slurm" / "cluster.yaml"
Cluster = dict[str, Any]


def read(path: Path = PATH) -> Cluster:
    """The checked description. Raises `UserError` for broken YAML, an unknown key or a value out of range."""
    cluster = strict_yaml.read(path)
    tables.check(cluster, tables.SCHEMAS / "cluster.schema.json", f"profiles/slurm/{path.name}", exact=True)
    return cluster
