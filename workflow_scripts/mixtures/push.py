"""Push an exported mixture to the Hugging Face hub as a dataset, private unless asked otherwise. The token comes from HF_TOKEN alone.

    python -m workflow_scripts.mixtures.push --folder results/exports/laptop --repository me/laptop-mixture [--public]

No rule does this: a run never publishes anything by itself.
"""

import argparse
import os
from pathlib import Path

from ..common import cli


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="results/exports/<mixture>")
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME")
    parser.add_argument("--public", action="store_true")
    arguments = parser.parse_args(argv)
    if not (arguments.folder / "README.md").is_file():
        raise cli.UserError(f"{arguments.folder} is no exported mixture. Make it: snakemake {arguments.folder}")
    if not (token := os.environ.get("HF_TOKEN")):
        raise cli.UserError("HF_TOKEN is not set: export a token of the hub that may write.")

    import huggingface_hub

    hub = huggingface_hub.HfApi(token=token)
    try:
        hub.create_repo(arguments.repository, repo_type="dataset", private=not arguments.public, exist_ok=True)
        where = hub.upload_folder(repo_id=arguments.repository, repo_type="dataset", folder_path=arguments.folder)
    except huggingface_hub.errors.HfHubHTTPError as error:
        raise cli.UserError(
            f"the hub refused {arguments.repository}: {error.server_message or error}. May the token write there?"
        ) from None
    print(f"{arguments.folder} is at {where}")


if __name__ == "__main__":
    cli.run(main, online=True)
