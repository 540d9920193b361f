#!/usr/bin/env python3
"""Checks every #include against the layering (docs/architecture.md): layers.py [ROOT]. Exit status 1 when one breaks it.

The table below is the rule. A folder may include itself, the folders in its row, and the libraries in its row; the library
headers only in a .cpp or in a header named *_handle.hpp, so that nobody else sees them. docs/dependencies.md says what each
library is for.
"""

import os
import re
import sys

# Library: the beginnings of its headers. json_fwd.hpp only declares names and may be seen by everybody.
LIBRARIES = {
    "archive": ("archive.h", "archive_entry.h"),
    "boost": ("boost/",),
    "cli11": ("CLI/",),
    "curl": ("curl/",),
    "fmt": ("fmt/",),
    "git2": ("git2.h", "git2/"),
    "json": ("nlohmann/",),
    "openssl": ("openssl/",),
    "spdlog": ("spdlog/",),
    "sqlite": ("sqlite3",),
    "systemd": ("systemd/",),
    "toml": ("toml++/",),
    "yaml": ("yaml-cpp/",),
    "zstd": ("zstd",),
}
SEEN_BY_ALL = {"nlohmann/json_fwd.hpp"}

# Folder: (folders below it, libraries). Bottom first; siblings do not include each other.
LAYERS = {
    "runner/core": ([], []),
    "runner/os": (["runner/core"], ["fmt"]),
    "runner/api": (["runner/core"], ["fmt", "json", "yaml"]),
    "runner/jmespath": (["runner/core"], ["fmt", "json"]),
    "runner/http": (["runner/core", "runner/os"], ["fmt", "json", "boost", "curl"]),
    "runner/engine": (["runner/core", "runner/os", "runner/http"], ["fmt", "json", "archive"]),
    "snapshot": (["runner/core", "runner/os"], ["fmt", "git2", "openssl"]),
    "git": (["runner/core", "runner/os"], ["fmt", "git2", "openssl"]),
    "envs": (["runner/core", "runner/os", "runner/http", "runner/engine"], ["fmt", "archive", "json", "openssl", "toml", "yaml"]),
    "store": (["runner/core", "runner/os"], ["fmt", "json", "sqlite", "zstd", "openssl"]),
    "runner/collect": (["runner/core", "runner/os"], ["fmt", "json"]),
    "runner/shim": (["runner/core", "runner/os", "runner/collect"], ["json"]),
    "runner/exec": (["runner/core", "runner/os", "runner/engine", "runner/collect", "runner/shim"], ["fmt", "json", "yaml"]),
    "runner/pipeline": (
        ["runner/core", "runner/os", "runner/api", "runner/engine", "snapshot", "git", "envs", "store"]
        + ["runner/collect", "runner/shim", "runner/exec"],
        ["fmt", "json", "openssl", "spdlog", "systemd", "toml"],
    ),
    "runner/daemon": (["runner/core", "runner/os", "runner/api", "runner/http", "runner/shim", "runner/exec", "runner/pipeline"], ["fmt", "json", "boost", "spdlog"]),
    "runner/cli": (["runner/core", "runner/os", "runner/api", "runner/http", "runner/jmespath"], ["fmt", "json", "cli11"]),
    "tools/runner": (["runner/core", "runner/os", "runner/cli"], []),
    "tools/runnerd": (["runner/core", "runner/os", "runner/daemon"], ["spdlog"]),
    "tools/runner-shim": (["runner/core", "runner/os", "runner/shim"], []),
    "tools/runner-engine": (["runner/core", "runner/os", "runner/http", "runner/engine", "runner/shim"], ["json"]),
    "tools/runner-guard": ([], []),
    "tools/bench": (["runner/core", "store", "runner/collect", "runner/pipeline"], []),
    "tools/fuzz": (
        ["runner/core", "runner/os", "runner/api", "runner/http", "runner/engine", "snapshot", "git", "envs", "store", "runner/collect"]
        + ["runner/shim", "runner/exec", "runner/pipeline", "runner/daemon", "runner/cli"],
        [],
    ),
    "tools/runner-init": (["runner/shim"], []),  # init_protocol.hpp only: it is compiled without the folder libraries
}
GENERATED = {"embedded": ["runner/daemon", "store", "envs"]}  # folder of generated headers: who may include them

TREES = ("runner", "snapshot", "envs", "store", "git", "tools")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def sources(root):
    for tree in TREES:
        for directory, folders, names in os.walk(os.path.join(root, tree)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".cpp", ".hpp", ".h", ".cc")):
                    yield os.path.relpath(os.path.join(directory, name), root)


def library_of(header):
    for library, beginnings in LIBRARIES.items():
        if header.startswith(beginnings):
            return library
    return None


def complaint(root, path, quote, header):
    """Why this include is wrong, or None."""
    folder = os.path.dirname(path)
    if folder not in LAYERS:
        return "'{}' has no row in tools/lint/layers.py".format(folder)
    below, libraries = LAYERS[folder]
    library = library_of(header)
    if library is not None:
        if header in SEEN_BY_ALL:
            return None
        if library not in libraries:
            return "{} does not use {} (<{}>)".format(folder, library, header)
        if not path.endswith((".cpp", "_handle.hpp")):
            return "<{}> belongs in a .cpp or a *_handle.hpp".format(header)
        return None
    target = os.path.dirname(header)
    if target in GENERATED and quote == '"':
        return None if folder in GENERATED[target] else "{} must not include generated {}".format(folder, header)
    exists = os.path.exists(os.path.join(root, header))
    if quote == "<":
        return 'write "{}"'.format(header) if exists and target in LAYERS else None
    if not exists:
        return '"{}" is no path from the source root'.format(header)
    if target != folder and target not in below:
        return "{} must not include {}".format(folder, target)
    return None


def complaints(root):
    found = []
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                match = INCLUDE.match(line)
                why = match and complaint(root, path, match.group(1), match.group(2))
                if why:
                    found.append("{}:{}: {}".format(path, number, why))
    return found


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..")
    count = sum(1 for _ in sources(root))
    if count == 0:
        print("no sources below " + root)
        return 1
    found = complaints(root)
    for line in found:
        print(line)
    print("{} files, {} includes against the layering".format(count, len(found)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
