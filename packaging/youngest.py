"""Prints the dependencies whose first version was published within the last two years,
the youngest first. The dates are in the index that cargo keeps; nothing is downloaded.

    make youngest
"""

import json
import os
import pathlib
import subprocess
import sys
from datetime import datetime, timedelta, timezone

AGE = timedelta(days=730)


def index_file(name):
    """Where the index has a crate."""
    name = name.lower()
    folders = {1: ["1"], 2: ["2"], 3: ["3", name[0]]}
    return pathlib.Path(*folders.get(len(name), [name[:2], name[2:4]]), name)


def published(cache, name):
    """The date of each version of a crate."""
    entries = (cache / index_file(name)).read_bytes().split(b"\0")
    versions = [json.loads(entry) for entry in entries if entry.startswith(b"{")]
    return {version["vers"]: version.get("pubtime", "") for version in versions}


def main():
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    caches = sorted(home.glob("registry/index/index.crates.io-*/.cache"))
    if not caches:
        sys.exit("there is no index of crates.io in " + str(home) + "; run `cargo fetch`")
    metadata = subprocess.check_output(["cargo", "metadata", "--locked", "--format-version", "1"])
    after = (datetime.now(timezone.utc) - AGE).strftime("%Y-%m-%d")
    rows = []
    for package in json.loads(metadata)["packages"]:
        if package["source"] is None:
            continue
        dates = published(caches[-1], package["name"])
        first = min(date for date in dates.values() if date)
        if first >= after:
            locked = dates[package["version"]]
            rows.append((first[:10], package["name"], package["version"], locked[:10], len(dates)))
    for row in sorted(rows, reverse=True):
        print("first {}  {} {} ({}), {} versions".format(*row))


main()
