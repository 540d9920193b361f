"""Tiny wheels, made on the spot: an index-free source of packages for real pip and uv."""
import base64
import hashlib
import io
import os
import zipfile


def wheel(name, version, requires=(), body=None):
    """(file name, bytes) of a pure Python wheel with one module that knows its VERSION."""
    files = {
        "%s.py" % name: body if body is not None else "VERSION = %r\n" % version,
        "%s-%s.dist-info/METADATA" % (name, version): "Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s" % (
            name, version, "".join("Requires-Dist: %s\n" % one for one in requires)),
        "%s-%s.dist-info/WHEEL" % (name, version): "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (path, digest, len(text.encode()))
    files["%s-%s.dist-info/RECORD" % (name, version)] = record + "%s-%s.dist-info/RECORD,,\n" % (name, version)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return "%s-%s-py3-none-any.whl" % (name, version), buffer.getvalue()


class WheelDirectory:
    """A directory for --find-links, of the home's user."""

    def __init__(self, home):
        self.home = home
        self.path = home.new_project()

    def add(self, name, version, requires=(), body=None):
        file, content = wheel(name, version, requires, body)
        self.home.write(os.path.join(self.path, file), content)
        return os.path.join(self.path, file)

    def options(self):
        """The first lines of a requirements.txt that knows nothing but this directory."""
        return "--no-index\n--find-links %s\n" % self.path
