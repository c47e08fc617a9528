"""The Hugging Face hub: models and data sets at a fixed revision, every trouble one clear message.

The token comes from the environment variable HF_TOKEN and from nowhere else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from .cli import UserError


def token() -> str | bool:
    return os.environ.get("HF_TOKEN") or False


@contextmanager
def troubles_named(name: str, revision: str) -> Iterator[None]:
    """Turn what the hub's client raises into a `UserError` that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(f"{name} is gated: accept its terms on its hub page, then set HF_TOKEN to a token of that account.") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{name} has no revision {revision}: copy the commit from its hub page.") from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(f"{name} has no such file at revision {revision}: see its hub page, tab Files.") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"the hub has no {name}, or it is private and HF_TOKEN does not open it.") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError) as error:
        raise UserError(
            f"{name} could not be fetched: the hub is not reachable from here and it is not in the cache. Run `snakemake prefetch` "
            "once on a machine with internet access, with HF_HOME on a disk that both see."
        ) from error


def snapshot(name: str, revision: str, patterns: list[str], folders: bool = False) -> Path:
    """Fetch the files of a model that match (with `folders` also those in folders), through the hub's cache: an interrupted download
    goes on where it was.
    """
    from huggingface_hub import snapshot_download

    with troubles_named(name, revision):
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=[] if folders else ["*/*"], token=token())
        )


def dataset_file(name: str, path: str, revision: str, folder: Path) -> Path:
    """Fetch one file of a data set into `folder`; what an interrupted download left there is gone on with."""
    from huggingface_hub import hf_hub_download

    with troubles_named(f"{name}/{path}", revision):
        return Path(hf_hub_download(name, path, repo_type="dataset", revision=revision, local_dir=folder, token=token()))


def dataset_file_facts(name: str, path: str, revision: str) -> tuple[str, str, int]:
    """Commit, SHA-256 and size of a file of a data set. `UserError` where the hub does not know its SHA-256: small text files."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with troubles_named(f"{name}/{path}", revision):
        facts = get_hf_file_metadata(hf_hub_url(name, path, repo_type="dataset", revision=revision), token=token())
    if facts.commit_hash is None or facts.size is None or len(facts.etag or "") != 64:
        raise UserError(f"the hub tells no SHA-256 of {name}/{path}. Pin its address instead: .../resolve/<commit>/{path}")
    return facts.commit_hash, str(facts.etag), facts.size


def check(name: str, revision: str, patterns: list[str]) -> int:
    """Bytes of those files, after making sure that this account may fetch them; nothing is downloaded."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    with troubles_named(name, revision):
        tree = HfApi().list_repo_tree(name, revision=revision, recursive=any("/" in one for one in patterns), token=token())
        sizes = {file.path: file.size for file in tree if hasattr(file, "size") and any(fnmatch(file.path, one) for one in patterns)}
        get_hf_file_metadata(hf_hub_url(name, min(sizes, default="config.json"), revision=revision), token=token())
    return sum(sizes.values())
