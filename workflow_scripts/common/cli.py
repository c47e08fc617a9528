"""The command line every step shares: one JSON of settings, one clear line for every mistake of the user."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any


class UserError(Exception):
    """Something the user can mend. The message says what is wrong and what to do; it is printed without a traceback."""


def json_object(text: str) -> dict[str, Any]:
    """Read a `--settings` argument: one JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return value


def run(main: Callable[[list[str] | None], None], online: bool = False) -> None:
    """Run a step as a program: exit status 0, or 1 with one line on standard error for a `UserError`.

    Only a step that is `online` may ask the hub: compute nodes often have no network, and what such a step needs is already here.
    """
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        main(None)
    except UserError as error:
        sys.exit(f"error: {error}")
