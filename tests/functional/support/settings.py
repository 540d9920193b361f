"""What this test process was asked to test. All of it comes from the environment (tests/functional/CMakeLists.txt sets it).

RUNNER_BIN_DIR         where runner, runnerd, runner-shim and runner-init were built
RUNNER_TEST_USER       root | ordinary: who runs every command (ordinary: a user made for this process and removed again)
RUNNER_OCI_RUNTIME     crun | runc: what the daemon must use; empty: its own choice
RUNNER_TEST_ISOLATION  sandbox | docker: docker submits with an image
RUNNER_TEST_ENGINE     unix://SOCKET of a Docker Engine that has the test images (tools/test-engine start prints it)
RUNNER_TEST_IMAGE      the image of submissions that do not care (runner-test/python:1)
RUNNER_TEST_LONG       1: the sweeps and loops of tests/faults are whole, not samples (tools/test --long)
RUNNER_TEST_SANITIZED  1: the programs are instrumented, their memory and their time are not theirs
RUNNER_TEST_SEED       of what is chosen at random there; printed, so that a failure can be had again
RUNNER_STRICT          1: a test that cannot run here fails instead of being skipped
"""
import os

BIN_DIR = os.environ.get("RUNNER_BIN_DIR", "")
USER = os.environ.get("RUNNER_TEST_USER") or ("root" if os.geteuid() == 0 else "ordinary")
RUNTIME = os.environ.get("RUNNER_OCI_RUNTIME", "")
ISOLATION = os.environ.get("RUNNER_TEST_ISOLATION") or "sandbox"
ENGINE = os.environ.get("RUNNER_TEST_ENGINE", "")
IMAGE = os.environ.get("RUNNER_TEST_IMAGE") or "runner-test/python:1"
LONG = os.environ.get("RUNNER_TEST_LONG") == "1"
SANITIZED = os.environ.get("RUNNER_TEST_SANITIZED") == "1"
SEED = int(os.environ.get("RUNNER_TEST_SEED") or int.from_bytes(os.urandom(4), "big"))
STRICT = os.environ.get("RUNNER_STRICT") == "1"
PYTHON = "/usr/bin/python3"  # Debian's: the one that has scikit-learn and matplotlib
SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

DEADLINE = 30.0  # seconds: how long a test waits for what must come; far above what it takes


def only_for(user):
    """Decorator: the test exists for this kind of user only (it is not counted as skipped for the other)."""
    def keep_or_drop(test):
        return test if USER == user else None
    return keep_or_drop


def only_in(isolation):
    """Decorator: the test exists for this isolation only (it is not counted as skipped for the other)."""
    def keep_or_drop(test):
        return test if ISOLATION == isolation else None
    return keep_or_drop


def only_where_limits_work(test):
    """Decorator: memory, processes and processor time can be limited for root, and for everybody by an engine."""
    return test if USER == "root" or ISOLATION == "docker" else None
