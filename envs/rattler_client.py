"""A conda client out of py-rattler: rattler_client.py REQUEST

REQUEST is a JSON file:
  prefix          absolute path to create
  cache           absolute path; its `pkgs` and `repodata` are used
  channels        URLs or names, in order of priority
  specs           match specs to solve, or
  packages        [{name, version, build, url, channel, sha256 | md5}]: exactly these, nothing is solved
  credentials     {URL as it is recorded: the same with user:password@ or /t/TOKEN}
  virtual         {"glibc": "2.36", "cuda": ""}: instead of what this machine has; "" is none
  offline         nothing is fetched
  link_scripts    packages' post-link scripts are run

Prints a line for each thing done, for people. Ends with 0; 3: no solution; 4: a package or the index of a channel cannot be had;
5: a file has another hash; 1: anything else. Before it ends with another status than 0 it prints "error: WHY", which may go on
over several lines.
"""
import asyncio
import base64
import hashlib
import json
import os
import sys
import time
import urllib.parse
import warnings

import rattler
from rattler.exceptions import FetchRepoDataError, GatewayError, SolverError
from rattler.networking import Client
from rattler.networking.middleware import AddHeadersMiddleware, AuthenticationMiddleware, MirrorMiddleware, RetryMiddleware
from rattler.repo_data import PackageRecord, RepoDataRecord

NO_SOLUTION, NOT_TO_BE_HAD, WRONG_HASH = 3, 4, 5
PROGRESS_PERIOD = 0.2  # seconds between two lines about bytes


class Failure(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def say(line):
    print(line, flush=True)


def size_of(count):
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return "%.3g %s" % (count, unit)
        count /= 1000
    return "%.3g GB" % count


class Reporter:
    """What rattler tells about an installation, as lines."""

    def __init__(self, records):
        self.sizes = {record.name.normalized: record.size or 0 for record in records}
        self.total = len(records)
        self.names, self.bytes, self.began, self.done, self.linked = [], {}, 0, 0, 0
        self.told = 0.0

    def on_transaction_start(self, total_operations):
        say("installing %d packages" % total_operations)

    def on_transaction_operation_start(self, operation):
        pass

    def on_populate_cache_start(self, operation, package_name):
        self.names.append(package_name)
        return len(self.names) - 1

    def on_validate_start(self, cache_entry):
        return cache_entry

    def on_validate_complete(self, validate_idx):
        pass

    def on_download_start(self, cache_entry):
        self.began += 1
        say("downloading %s (%d of up to %d)" % (self.names[cache_entry], self.began, self.total))
        return cache_entry

    def on_download_progress(self, download_idx, progress, total):
        self.bytes[download_idx] = progress
        now = time.monotonic()
        if now - self.told > PROGRESS_PERIOD:
            self.told = now
            say("downloading: %d of %d done, %s" % (self.done, self.began, size_of(sum(self.bytes.values()))))

    def on_download_completed(self, download_idx):
        self.done += 1

    def on_populate_cache_complete(self, cache_entry):
        pass

    def on_unlink_start(self, operation, package_name):
        return 0

    def on_unlink_complete(self, index):
        pass

    def on_link_start(self, operation, package_name):
        self.linked += 1
        say("linking %s (%d of %d)" % (package_name, self.linked, self.total))
        return self.linked

    def on_link_complete(self, index):
        pass

    def on_transaction_operation_complete(self, operation):
        pass


def reasons(error):
    """The error's text and its causes', each once."""
    lines = []
    while error is not None:
        text = str(error).strip()
        if text and not any(text in line for line in lines):
            lines.append(text)
        error = error.__cause__
    return "\n".join(lines)


def virtual_packages(overrides):
    found = {package.name.normalized: package for package in (each.into_generic() for each in rattler.VirtualPackage.detect())}
    for name, version in overrides.items():
        name = "__" + name.lstrip("_")
        found.pop(name, None)
        if version:
            found[name] = rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0"))
    return list(found.values())


def client_for(request):
    """A password goes into a header, a token is a part of the path: what is recorded has neither."""
    headers, mirrors = [], {}
    for url, secret in request.get("credentials", {}).items():
        parts = urllib.parse.urlsplit(secret)
        host = parts.hostname or ""
        if parts.username is not None:
            text = "%s:%s" % (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
            path = urllib.parse.urlsplit(url).path.rstrip("/")
            headers.append((host, path, {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}))
        bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if bare != url:
            mirrors[url] = [bare]

    def header_of(host, path):
        for known, begin, header in headers:
            if host == known and (path == begin or path.startswith(begin + "/")):
                return header
        return None

    middlewares = [RetryMiddleware(3), AuthenticationMiddleware()]
    if mirrors:
        middlewares.append(MirrorMiddleware(mirrors))
    if headers:
        middlewares.append(AddHeadersMiddleware(header_of))
    return Client(middlewares)


def gateway_for(request, client, action):
    config = rattler.SourceConfig(cache_action=action)
    return rattler.Gateway(cache_dir=os.path.join(request["cache"], "repodata"), default_config=config, client=client)


async def solve(request, client):
    def attempt(action):
        return rattler.solve(
            sources=[rattler.Channel(channel) for channel in request["channels"]],
            specs=[rattler.MatchSpec(spec) for spec in request["specs"]],
            gateway=gateway_for(request, client, action),
            platforms=[rattler.Platform.current(), rattler.Platform("noarch")],
            virtual_packages=virtual_packages(request.get("virtual", {})),
            channel_relations="disabled",
        )

    say("solving %d specs from %s" % (len(request["specs"]), ", ".join(request["channels"])))
    try:
        if request.get("offline"):
            return await attempt("force-cache-only")
        try:
            return await attempt("cache-or-fetch")
        except (GatewayError, FetchRepoDataError) as error:
            # Without a network, what is known of the channels from the last time still counts.
            try:
                records = await attempt("force-cache-only")
            except Exception:
                raise error from None
            say("warning: a channel does not answer, solved with what it last said: %s" % reasons(error).splitlines()[0])
            return records
    except SolverError as error:
        raise Failure(NO_SOLUTION, reasons(error)) from error
    except (GatewayError, FetchRepoDataError) as error:
        raise Failure(NOT_TO_BE_HAD, reasons(error)) from error


def locked_record(package):
    url = package["url"]
    subdir = url.rsplit("/", 2)[-2]
    record = PackageRecord(
        package["name"], package["version"], rattler.BuildString(package["build"]), 0, subdir,
        sha256=bytes.fromhex(package["sha256"]) if package.get("sha256") else None,
        md5=bytes.fromhex(package["md5"]) if package.get("md5") else None,
    )
    return RepoDataRecord(record, url.rsplit("/", 1)[-1], url, package.get("channel") or url.rsplit("/", 2)[0])


def complete_records(prefix):
    """What a lock does not say of a package (its dependencies, its licence) is in the package."""
    folder = os.path.join(prefix, "conda-meta")
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if not name.endswith(".json"):
            continue
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        try:
            with open(os.path.join(record["extracted_package_dir"], "info", "index.json"), encoding="utf-8") as file:
                index = json.load(file)
        except (KeyError, OSError, ValueError):
            continue
        record.update((key, value) for key, value in index.items() if not record.get(key))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)


def check_local_files(records):
    """rattler takes what a file:// URL points to as it is."""
    for record in records:
        if not record.url.startswith("file://"):
            continue
        path = urllib.parse.unquote(urllib.parse.urlsplit(record.url).path)
        kind, wanted = ("sha256", record.sha256) if record.sha256 else ("md5", record.md5)
        digest = hashlib.new(kind)
        try:
            with open(path, "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            raise Failure(NOT_TO_BE_HAD, "%s %s: %s: %s" % (record.name.normalized, record.version, record.url, error.strerror)) from error
        if wanted and digest.digest() != wanted:
            raise Failure(WRONG_HASH, "%s %s: %s has the %s %s, expected %s" % (
                record.name.normalized, record.version, record.url, kind, digest.hexdigest(), wanted.hex()))


async def install(request, client, records):
    reporter = Reporter(records)
    try:
        await rattler.install(
            records, request["prefix"], client=client, reporter=reporter,
            package_cache=rattler.PackageCache(os.path.join(request["cache"], "pkgs")),
            execute_link_scripts=bool(request.get("link_scripts")),
        )
    except Exception as error:
        text = reasons(error)
        if "hash" in text and "match" in text:
            raise Failure(WRONG_HASH, text) from error
        if "fetch" in text or "download" in text:
            raise Failure(NOT_TO_BE_HAD, text) from error
        raise


async def main(request):
    client = client_for(request)
    if "packages" in request:
        records = [locked_record(package) for package in request["packages"]]
    else:
        records = await solve(request, client)
        say("solved: %d packages, %s" % (len(records), size_of(sum(record.size or 0 for record in records))))
    os.makedirs(os.path.join(request["prefix"], "conda-meta"), exist_ok=True)
    check_local_files(records)
    if records:
        await install(request, client, records)
    if "packages" in request:
        complete_records(request["prefix"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with open(sys.argv[1], encoding="utf-8") as stream:
        asked = json.load(stream)
    status = 0
    try:
        asyncio.run(main(asked))
    except Failure as failure:
        say("error: " + str(failure))
        status = failure.status
    except Exception as failure:
        say("error: " + (reasons(failure) or type(failure).__name__))
        status = 1
    os._exit(status)  # rattler's threads may still run, and do not survive the interpreter's end
