"""Who the commands run as: root, or an ordinary user made for this test process alone and removed with it."""
import atexit
import os
import pwd
import re
import shutil
import signal
import subprocess

from . import settings
from .waiting import wait_until

_PREFIX = "runner-test-"


class Account:
    def __init__(self, entry):
        self.name, self.uid, self.gid, self.home = entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir

    def popen_options(self):
        """For subprocess.Popen: nothing when the process already is this user."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path):
        """Gives a file or a whole tree to this user."""
        if os.geteuid() != 0:
            return
        os.lchown(path, self.uid, self.gid)
        if os.path.isdir(path) and not os.path.islink(path):
            for directory, names, files in os.walk(path):
                for name in names + files:
                    os.lchown(os.path.join(directory, name), self.uid, self.gid)


def _remove_user(name):
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat("/proc/" + pid).st_uid == uid:
                os.kill(int(pid), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass
    # Another process may hold the lock of /etc/passwd, and a killed process may not be gone yet.
    def gone():
        subprocess.run(["userdel", "--remove", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return not any(entry.pw_name == name for entry in pwd.getpwall())
    wait_until(gone, "user %s is removed" % name)


def _remove_stale_users():
    """Users of test processes that were killed themselves."""
    for entry in pwd.getpwall():
        match = re.fullmatch(_PREFIX + r"(\d+)", entry.pw_name)
        if match and not os.path.exists("/proc/" + match.group(1)):
            _remove_user(entry.pw_name)


def _make_user():
    name = _PREFIX + str(os.getpid())
    _remove_stale_users()

    def made():
        done = subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], capture_output=True, text=True)
        if done.returncode not in (0, 1, 10):  # 1 and 10: somebody else is changing the files
            raise AssertionError("useradd: " + done.stderr)
        return done.returncode == 0
    wait_until(made, "user %s is made" % name)
    atexit.register(_remove_user, name)
    return Account(pwd.getpwnam(name))


def account_for(kind):
    """The Account, or a text saying why there is none here."""
    if kind == "root":
        return Account(pwd.getpwuid(0)) if os.geteuid() == 0 else "only root can test root's daemon"
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()))
    if not shutil.which("useradd"):
        return "useradd is missing: no ordinary user can be made"
    return _make_user()


_account = None


def account():
    """The user of this test process; made at the first call."""
    global _account
    if _account is None:
        _account = account_for(settings.USER)
        if isinstance(_account, str):
            raise AssertionError(_account)
    return _account
