"""A conda channel made here: hand-built packages, their index, and a Python that is the machine's own, relocated.

    python3 conda_channel.py DIRECTORY     makes it there and prints its URL

What is in it (linux-64 and noarch):
    python X.Y.Z   this machine's: interpreter, standard library, extension modules; sys.prefix is wherever it lies
    pip            the wheel that venv installs, as a noarch Python package
    greeting       1.0 and 2.0, noarch Python, needs words; 2.0 is broken for `clash`
    words          1.0 and 1.1, noarch Python, a .tar.bz2
    banner         1.0, linux-64: a script and a binary file with the prefix in them
    activated      1.0: activate.d and env_vars.d
    clash          1.0: needs greeting 1.* (with greeting=2.0 there is no solution)
    orphan         1.0: needs a package that does not exist
    newer-glibc    1.0: needs __glibc >=99
    tampered       1.0: its file is not the one that the index names
"""
import bz2
import ctypes
import ctypes.util
import hashlib
import io
import json
import os
import shutil
import sys
import sysconfig
import tarfile
import zipfile

PLACEHOLDER = "/placeholder_" + "_" * 200
SUBDIRS = ("linux-64", "noarch")
PYTHON = "%d.%d" % sys.version_info[:2]
PYTHON_VERSION = "%d.%d.%d" % sys.version_info[:3]
SITE_PACKAGES = "site-packages"


def zstd(content):
    """`content` compressed, by the library: this Python has no module for it."""
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    buffer = ctypes.create_string_buffer(library.ZSTD_compressBound(len(content)))
    size = library.ZSTD_compress(buffer, len(buffer), content, len(content), 1)
    if library.ZSTD_isError(size):
        raise RuntimeError("zstd does not compress")
    return buffer.raw[:size]


def tar(members):
    """[(name, bytes | "-> target", mode)] as an uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.mode = mode
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content[3:]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Package:
    """files: {path: bytes | "-> target"}; a file that has PLACEHOLDER in it is patched at installation."""

    def __init__(self, name, version, depends=(), files=None, python=False, subdir=None, modes=None, entry_points=(), suffix=".conda", build=None):
        self.name, self.version, self.suffix = name, version, suffix
        self.subdir = subdir or ("noarch" if python else "linux-64")
        self.build = build or ("py_0" if python else "0")
        self.files, self.modes = dict(files or {}), dict(modes or {})
        self.python, self.entry_points = python, list(entry_points)
        self.index = {"name": name, "version": version, "build": self.build, "build_number": 0, "depends": list(depends), "constrains": [], "license": "MIT",
                      "subdir": self.subdir, "timestamp": 1700000000000}
        if self.subdir == "noarch":
            self.index["noarch"] = "python" if python else "generic"
        else:
            self.index.update(arch="x86_64", platform="linux")

    @property
    def file_name(self):
        return "%s-%s-%s%s" % (self.name, self.version, self.build, self.suffix)

    def path_of(self, path):
        content = self.files[path]
        if isinstance(content, str):
            return {"_path": path, "path_type": "softlink", "sha256": hashlib.sha256(b"").hexdigest(), "size_in_bytes": 0}
        entry = {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
        if PLACEHOLDER.encode() in content:
            entry.update(file_mode="binary" if b"\0" in content else "text", prefix_placeholder=PLACEHOLDER)
        return entry

    def archive(self):
        info = {"index.json": self.index, "paths.json": {"paths_version": 1, "paths": [self.path_of(path) for path in sorted(self.files)]}, "about.json": {"summary": self.name}}
        if self.python:
            info["link.json"] = {"noarch": {"type": "python", "entry_points": self.entry_points}, "package_metadata_version": 1}
        about = [("info/" + name, json.dumps(content, indent=1).encode(), 0o644) for name, content in info.items()]
        about.append(("info/files", "".join(path + "\n" for path in sorted(self.files)).encode(), 0o644))
        payload = [(path, self.files[path], self.modes.get(path, 0o755 if path.startswith("bin/") else 0o644)) for path in sorted(self.files)]
        if self.suffix == ".tar.bz2":
            return bz2.compress(tar(about + payload), 1)
        stem = self.file_name[:-len(self.suffix)]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            archive.writestr("pkg-%s.tar.zst" % stem, zstd(tar(payload)))
            archive.writestr("info-%s.tar.zst" % stem, zstd(tar(about)))
        return buffer.getvalue()


def relocated(name, content):
    """pip installs into site-packages here, too: Debian's Python has it somewhere else."""
    if name == "sysconfig.py":
        return content.replace(b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
    return content


def python_package():
    files = {"bin/python": "-> python" + PYTHON, "bin/python3": "-> python" + PYTHON}
    with open(os.path.realpath(sys.executable), "rb") as program:
        files["bin/python" + PYTHON] = program.read()
    shared = sysconfig.get_config_var("LDLIBRARY") or ""
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and ".so" in shared:
        for name in os.listdir(sysconfig.get_config_var("LIBDIR")):
            if name.startswith(shared):
                with open(os.path.join(sysconfig.get_config_var("LIBDIR"), name), "rb") as library:
                    files["lib/" + name] = library.read()
    library = sysconfig.get_path("stdlib")
    left_out = {"test", "idlelib", "turtledemo", "lib2to3", "tkinter", "ensurepip", "dist-packages", SITE_PACKAGES, "__pycache__"}
    for directory, folders, names in os.walk(library):
        below = os.path.relpath(directory, library)
        folders[:] = [folder for folder in folders if folder not in left_out and not folder.startswith("config-")]
        for name in names:
            path = os.path.join(directory, name)
            if name in ("EXTERNALLY-MANAGED", "sitecustomize.py") or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                files[os.path.normpath("lib/python%s/%s/%s" % (PYTHON, below, name))] = relocated(name, file.read())
    files["lib/python%s/%s/README" % (PYTHON, SITE_PACKAGES)] = b"packages go here\n"
    # Debian's site, which is frozen into the program, knows dist-packages only.
    files["lib/python%s/sitecustomize.py" % PYTHON] = (
        "import os, site, sys\n\nsite.addsitedir(os.path.join(sys.prefix, 'lib', 'python%s', '%s'))\n" % (PYTHON, SITE_PACKAGES)).encode()
    files["etc/python-prefix"] = (PLACEHOLDER + "\n").encode()
    return Package("python", PYTHON_VERSION, files=files, build="0_cpython")


def pip_package():
    for folder in ("/usr/share/python-wheels", os.path.join(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.startswith("pip-") and name.endswith(".whl"):
                with zipfile.ZipFile(os.path.join(folder, name)) as wheel:
                    files = {SITE_PACKAGES + "/" + entry: wheel.read(entry) for entry in wheel.namelist() if not entry.endswith("/")}
                return Package("pip", name.split("-")[1], ["python >=3.8"], files, python=True, entry_points=["pip = pip._internal.cli.main:main"])
    raise FileNotFoundError("no pip wheel on this machine: install python3-venv")


def packages():
    def module(name, version, text, depends, **more):
        return Package(name, version, ["python"] + depends, {SITE_PACKAGES + "/%s.py" % name: text.encode()}, python=True, **more)

    banner = ("#!/bin/sh\necho banner of %s\n" % PLACEHOLDER).encode()
    activate = b'export BANNER_HOME="$CONDA_PREFIX/share/banner"\nexport GREETING="two\nlines"\nunset NOT_WANTED\nPRIVATE=not-exported\n'
    return [
        python_package(),
        pip_package(),
        module("words", "1.0", "WORDS = ['hello']\n", [], suffix=".tar.bz2"),
        module("words", "1.1", "WORDS = ['hello', 'world']\n", [], suffix=".tar.bz2"),
        module("greeting", "1.0", "import words\ndef main():\n    print(' '.join(words.WORDS))\n", ["words >=1"], entry_points=["greet = greeting:main"]),
        module("greeting", "2.0", "import words\ndef main():\n    print(' '.join(words.WORDS).upper())\n", ["words >=1"]),
        Package("banner", "1.0", files={"bin/banner": banner, "share/banner/binary": b"\0\1" + PLACEHOLDER.encode() + b"/share\0\2"}),
        Package("activated", "1.0", subdir="noarch",
                files={"etc/conda/activate.d/banner.sh": activate, "etc/conda/env_vars.d/activated.json": b'{"FROM_JSON": "yes"}'}),
        Package("clash", "1.0", ["greeting 1.*"], subdir="noarch"),
        Package("orphan", "1.0", ["nowhere-to-be-found >=2"], subdir="noarch"),
        Package("newer-glibc", "1.0", ["__glibc >=99"]),
        Package("tampered", "1.0", subdir="noarch", files={"share/tampered": b"as published\n"}),
    ]


def make(directory, only=None, without=()):
    """The channel below `directory` (only these packages, by name, without these (name, version)); its URL. 3 seconds with Python, nothing without."""
    indices = {subdir: {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "removed": [], "repodata_version": 1} for subdir in SUBDIRS}
    for subdir in SUBDIRS:
        os.makedirs(os.path.join(directory, subdir), exist_ok=True)
    for package in packages():
        if (only is not None and package.name not in only) or (package.name, package.index["version"]) in without:
            continue
        place = os.path.join(directory, package.subdir, package.file_name)
        archive = package.archive()
        if os.path.exists(place):  # what a channel has it does not change
            with open(place, "rb") as file:
                archive = file.read()
        record = dict(package.index, size=len(archive), sha256=hashlib.sha256(archive).hexdigest(), md5=hashlib.md5(archive).hexdigest())
        if package.name == "tampered":
            package.files["share/tampered"] = b"as somebody else likes it\n"
            archive = package.archive()
        with open(place, "wb") as file:
            file.write(archive)
        indices[package.subdir]["packages.conda" if package.suffix == ".conda" else "packages"][package.file_name] = record
    for subdir, index in indices.items():
        with open(os.path.join(directory, subdir, "repodata.json"), "w") as file:
            json.dump(index, file, indent=1)
    return "file://" + os.path.abspath(directory)


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    print(make(sys.argv[1], set(sys.argv[2:]) or None))
