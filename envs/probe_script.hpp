// What an interpreter is asked. Private to this folder.
#pragma once

namespace runner::envs {

// A shim (pyenv, asdf, a wrapper) decides by the caller's directory and variables; -I keeps the directory's own modules
// out.
inline constexpr const char* kAskExecutable = "import sys; print(sys.executable)";

// Prints kAnswerMark and one JSON object as its last line (sitecustomize may print before it):
//   {"executable", "version", "implementation", "base": the executable behind a virtual environment, "distributions":
//    [[name, version, directory], …] of which the first of a name is the one that counts, "prefixes": [sys.prefix, …],
//    "links": [what editable installs' import hooks point to],
//    "path": [existing absolute sys.path entries], "watch": [paths whose change makes the answer stale; may not exist]}
// Runs under every Python since 2.7: an old one should get a clear answer too.
inline constexpr const char* kAnswerMark = "runner-interpreter: ";
inline constexpr const char* kProbe = R"PYTHON(
import glob, json, os, re, sys
try:
    import site
except ImportError:
    site = None

def call(name):
    try:
        return getattr(site, name)()
    except Exception:
        return None

here = os.getcwd()
path = []
for entry in sys.path:
    if entry != here and os.path.isabs(entry) and os.path.exists(entry) and entry not in path:
        path.append(entry)

user_site = call("getusersitepackages") if getattr(site, "ENABLE_USER_SITE", None) else None
site_directories = list(call("getsitepackages") or [])
if user_site:
    site_directories.append(user_site)

watch = [os.path.join(sys.prefix, "pyvenv.cfg"), os.path.join(os.path.dirname(sys.executable), "pyvenv.cfg")]
for directory in site_directories + path:
    watch.append(directory)
    for pth in sorted(glob.glob(os.path.join(directory, "*.pth"))) if directory in site_directories else []:
        watch.append(pth)
        try:
            with open(pth, "rb") as stream:
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except (IOError, OSError):
            continue
        # A directory that is named but missing gets onto sys.path the day it appears.
        watch += [os.path.join(directory, line.strip()) for line in lines
                  if line.strip() and not line.startswith(("#", "import ", "import\t"))]

# setuptools' editable installs (PEP 660): the hook's module holds the map from package to directory.
links = []
for name, module in list(sys.modules.items()):
    if name.startswith("__editable__"):
        targets = list((getattr(module, "MAPPING", None) or {}).values())
        for several in (getattr(module, "NAMESPACES", None) or {}).values():
            targets += several
        for target in targets:
            links += [found for found in (target, target + ".py") if os.path.isabs(found) and os.path.exists(found)][:1]

distributions = []
seen = set()
for directory in path:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        continue
    for entry in names:
        stem, extension = os.path.splitext(entry)
        if extension not in (".dist-info", ".egg-info"):
            continue
        parts = stem.split("-")
        name = re.sub(r"[-_.]+", "-", parts[0]).lower()
        if name in seen:
            continue
        seen.add(name)
        distributions.append([name, parts[1] if len(parts) > 1 else "", directory])

prefixes = [getattr(sys, name, None) for name in ("prefix", "base_prefix", "exec_prefix", "base_exec_prefix", "real_prefix")]
answer = {
    "executable": sys.executable,
    "version": sys.version.split()[0],
    "implementation": getattr(getattr(sys, "implementation", None), "name", "cpython"),
    "base": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "distributions": distributions,
    "prefixes": [prefix for prefix in prefixes if prefix],
    "links": links,
    "path": path,
    "watch": watch,
}
sys.stdout.write("\nrunner-interpreter: " + json.dumps(answer) + "\n")
)PYTHON";

}  // namespace runner::envs
