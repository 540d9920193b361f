"""Message buses of a test's own, with a systemd-logind and a desktop that are mocks (python3-dbusmock)."""
import importlib.util
import os
import socket
import subprocess
import sys
import time

from .waiting import wait_until

CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
LOGIND = "org.freedesktop.login1"
MANAGER = LOGIND + ".Manager"


def missing():
    """Why there can be none, or an empty text."""
    absent = [name for name in ("dbusmock", "dbus") if importlib.util.find_spec(name) is None]
    if absent:
        return "no Python module " + ", ".join(absent) + " (python3-dbusmock)"
    return "" if any(os.access(d + "/dbus-daemon", os.X_OK) for d in ("/usr/bin", "/bin")) else "no dbus-daemon"


class Bus:
    """One bus with one mock on it."""

    def __init__(self, directory, template):
        self.directory = directory
        self.socket = directory + "/bus.sock"
        self.address = "unix:path=" + self.socket
        self.log = directory + "/mock.log"
        with open(directory + "/bus.conf", "w") as file:
            file.write(CONFIGURATION.format(socket=self.socket))
        self._processes = [subprocess.Popen(["dbus-daemon", "--nofork", "--config-file=" + directory + "/bus.conf"],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        wait_until(self._listens, "the bus listens")
        variables = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address, "DBUS_SESSION_BUS_ADDRESS": self.address}
        self._processes.append(subprocess.Popen([sys.executable, "-m", "dbusmock", "--template", template, "-l", self.log], env=variables,
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        import dbus
        self._connection = dbus.bus.BusConnection(self.address)
        name = LOGIND if template == "logind" else "org.freedesktop.Notifications"
        wait_until(lambda: self._connection.name_has_owner(name), "the mock of %s is on its bus" % name, 30)

    def _listens(self):
        with socket.socket(socket.AF_UNIX) as client:  # that it is there is not enough: it is bound before it listens
            return client.connect_ex(self.socket) == 0

    def object(self, name, path):
        return self._connection.get_object(name, path)

    def calls(self):
        """What was called, a line each."""
        with open(self.log) as file:
            return file.read().splitlines()

    def close(self):
        self._connection.close()
        for process in reversed(self._processes):
            process.kill()
            process.wait()


class Logind(Bus):
    def __init__(self, directory, uid):
        super().__init__(directory, "logind")
        self.uid = uid
        manager = self.object(LOGIND, "/org/freedesktop/login1")
        self.mock = "org.freedesktop.DBus.Mock"
        # The template's own joins a text and a number.
        manager.AddMethod(MANAGER, "GetUser", "u", "o", 'ret = "/org/freedesktop/login1/user/%d" % args[0]', dbus_interface=self.mock)
        manager.AddSession("c1", "seat0", uid, "dev", True, dbus_interface=self.mock)
        import dbus
        manager.AddProperty(MANAGER, "KillUserProcesses", dbus.Boolean(False), dbus_interface=self.mock)
        self.manager = manager

    def inhibitors(self):
        """(what, who, mode) of each lock."""
        return [tuple(str(lock[i]) for i in (0, 1, 3)) for lock in self.manager.ListInhibitors(dbus_interface=MANAGER)]

    def set_idle(self, idle):
        import dbus
        user = self.object(LOGIND, "/org/freedesktop/login1/user/%d" % self.uid)
        user.Set(LOGIND + ".User", "IdleHint", dbus.Boolean(idle), dbus_interface="org.freedesktop.DBus.Properties")

    def set_kill_user_processes(self, kill):
        import dbus
        self.manager.Set(MANAGER, "KillUserProcesses", dbus.Boolean(kill), dbus_interface="org.freedesktop.DBus.Properties")
