"""A hostile script: runs inside of a run and tries to get out. Not a module of the tests.

Reads what to try from targets.json beside it and writes what happened as JSON to standard output: for each attempt the
name of the errno it met ("EPERM"), "" for none, or what it found.
"""
import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
TARGETS = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "targets.json")))
found = {}

# x86-64 (arch/x86/entry/syscalls/syscall_64.tbl); from 424 on the numbers are those of every machine.
NUMBERS = dict(
    ptrace=101, process_vm_readv=310, process_vm_writev=311, process_madvise=440, kcmp=312, add_key=248, request_key=249, keyctl=250,
    unshare=272, setns=308, mount=165, umount2=166, pivot_root=155, chroot=161, mount_setattr=442, move_mount=429, open_tree=428,
    open_tree_attr=467, fsopen=430, fsconfig=431, fsmount=432, fspick=433, name_to_handle_at=303, open_by_handle_at=304, bpf=321,
    perf_event_open=298, userfaultfd=323, io_uring_setup=425, io_uring_enter=426, io_uring_register=427, fanotify_init=300,
    lookup_dcookie=212, quotactl=179, quotactl_fd=443, nfsservctl=180, sysfs=139, uselib=134, ustat=136, vmsplice=278, personality=135,
    acct=163, clock_settime=227, settimeofday=164, sethostname=170, setdomainname=171, init_module=175, finit_module=313,
    delete_module=176, kexec_load=246, kexec_file_load=320, ioperm=173, iopl=172, swapon=167, swapoff=168, vhangup=153,
    migrate_pages=256, move_pages=279, clone3=435, syslog=103, reboot=169, adjtimex=159, clock_adjtime=305, statmount=457,
    listmount=458, modify_ldt=154)


def attempt(call):
    """The errno's name; "" where nothing stood in the way."""
    try:
        call()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return ""


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def syscall(number, *arguments):
    ctypes.set_errno(0)
    return check(LIBC.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]))


def ends(child_code):
    """How a child that runs it ends: an exit status, or minus a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(child_code())
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def read(path):
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb") as file:
        return file.read(1)


def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def connect(address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.settimeout(5)
        client.connect(address)


# --- what is inherited
def descriptors():
    links = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[int(name)] = os.readlink("/proc/self/fd/" + name)
        except FileNotFoundError:  # the look's own
            pass
    return links


found["descriptors"] = descriptors()
found["terminal"] = [attempt(lambda: os.close(os.open("/dev/tty", os.O_RDWR))), [os.isatty(fd) for fd in range(3)]]
status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
found["status"] = {name: status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")}

# --- files and sockets of the host: as they are named, and through every process's root and working directory
found["files"] = {path: attempt(lambda: read(path)) for path in TARGETS["files"]}
roots = ["/proc/%s/%s" % (pid, link) for pid in os.listdir("/proc") if pid.isdigit() for link in ("root", "cwd")]
roots += ["/proc/self/fd/%d/../../../../../.." % fd for fd in range(16)] + ["/" + "../" * 40]
found["through"] = [root + path for root in roots for path in TARGETS["files"] if attempt(lambda: read(root + path)) == ""]
found["processes"] = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        found["processes"].append(open("/proc/%s/cmdline" % pid, "rb").read().decode(errors="replace"))
    except OSError:
        pass
found["sockets"] = {path: attempt(lambda: connect(path)) for path in TARGETS["sockets"]}
found["abstract"] = {name: attempt(lambda: connect("\0" + name)) for name in TARGETS["abstract"]}
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
    found["datagram"] = attempt(lambda: datagram.sendto(b"x", "\0" + TARGETS["datagram"]))
with socket.socket(socket.AF_UNIX) as own:  # what a script makes itself it may use
    own.bind("\0own-" + TARGETS["abstract"][0])
    own.listen()
    found["own abstract"] = attempt(lambda: connect("\0own-" + TARGETS["abstract"][0]))
found["variables"] = [name for name, value in os.environ.items() if TARGETS["token"] in value and name in TARGETS["variables"]]

# --- processes outside: their numbers mean somebody else here, if anybody
child = os.fork()
if child == 0:
    signal.pause()
    os._exit(0)
outside = [pid for pid in TARGETS["pids"] if not os.path.exists("/proc/%d" % pid)]
found["outside"] = len(outside)
vector = struct.pack("QQ", ctypes.addressof(ctypes.create_string_buffer(8)), 8)
found["signals"] = [attempt(lambda: os.kill(pid, 0)) for pid in outside] + [attempt(lambda: os.pidfd_open(pid)) for pid in outside]
found["groups"] = [attempt(lambda: os.killpg(pid, 0)) for pid in outside]
found["init memory"] = [attempt(lambda: os.close(os.open("/proc/1/" + name, flags)))
                        for name, flags in (("mem", os.O_RDWR), ("exe", os.O_WRONLY), ("environ", os.O_RDONLY), ("root", os.O_RDONLY), ("fd/3", os.O_RDWR))]
found["init traced"] = attempt(lambda: syscall(NUMBERS["ptrace"], 16, 1, 0, 0))
found["init read"] = attempt(lambda: syscall(NUMBERS["process_vm_readv"], 1, vector, 1, vector, 1, 0))
found["init descriptor"] = attempt(lambda: syscall(438, os.pidfd_open(1), 3, 0))
found["init killed"] = attempt(lambda: os.kill(1, signal.SIGKILL))  # "" and without effect: it is the first of its namespace
found["program"] = {path: attempt(lambda: os.close(os.open(path, os.O_WRONLY))) for path in TARGETS["programs"]}

# --- the kernel
zeros = (0,) * 6
found["denied"] = {name: attempt(lambda: syscall(NUMBERS[name], *zeros)) for name in TARGETS["denied"]}
CLONE = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000}
found["unshare"] = {name: attempt(lambda: check(LIBC.unshare(flag))) for name, flag in CLONE.items()}


def clone(flags):
    pid = syscall(56, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


found["clone"] = {name: attempt(lambda: clone(flag)) for name, flag in CLONE.items()}
found["clone3"] = attempt(lambda: syscall(435, struct.pack("11Q", CLONE["user"], *(0,) * 3, signal.SIGCHLD, *(0,) * 6), 88))
found["setns"] = [attempt(lambda: check(LIBC.setns(os.open("/proc/1/ns/" + kind, os.O_RDONLY), 0))) for kind in ("mnt", "net", "pid", "user")]
found["mount"] = [attempt(lambda: check(LIBC.mount(source, b"/tmp", kind, flags, None)))
                  for source, kind, flags in ((b"none", b"tmpfs", 0), (b"/", b"", 4096), (b"", b"", 32), (b"proc", b"proc", 0))]
found["nodes"] = [attempt(lambda: os.mknod("/tmp/node%d%d" % device, 0o666 | mode, os.makedev(*device)))
                  for mode, device in ((0o020000, (1, 1)), (0o020000, (1, 11)), (0o060000, (8, 0)), (0o060000, (254, 0)))]
found["devices"] = sorted(name for name in os.listdir("/dev"))
NR_ADD_KEY, NR_REQUEST_KEY, NR_KEYCTL = 248, 249, 250
found["keys"] = [attempt(lambda: syscall(NR_ADD_KEY, b"user\0", b"runner\0", b"x\0", 1, -4)), attempt(lambda: syscall(NR_KEYCTL, 0, -3, 1)),
                 attempt(lambda: syscall(NR_REQUEST_KEY, b"user\0", b"runner\0", 0, -4))]
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
ours, theirs = os.openpty()


def typed(request):
    def child_with_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        try:
            fcntl.ioctl(theirs, request, b"\x03")
        except OSError as error:
            return error.errno
        return 0
    return ends(child_with_terminal)


found["typed"] = [typed(TIOCSTI), typed(TIOCLINUX)]
AUDIT, VSOCK = 9, 40
found["unscoped sockets"] = [attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, AUDIT).close()),
                             attempt(lambda: socket.socket(VSOCK, socket.SOCK_STREAM).close())]


def other_table(code):
    """A system call through another architecture's table: x86-64 only."""
    def run():
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        return 0 if result >= 0 else min(-result, 98)
    return ends(run)


if os.uname().machine == "x86_64":
    found["i386"] = other_table(b"\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\xc3")  # unshare(CLONE_NEWUSER): 310
    found["x32"] = ends(lambda: LIBC.syscall(ctypes.c_long(0x40000000 + 272), ctypes.c_long(0x10000000)) != 0)

# --- /proc and /sys
found["written"] = [path for path in TARGETS["kernel files"] if os.path.exists(path) and attempt(lambda: write(path, "0")) == ""]
found["reachable"] = [path for path in TARGETS["kernel files"] if os.path.exists(path)]
for top in ("/sys", "/proc/sys", "/proc/bus", "/proc/irq"):
    for directory, _, names in os.walk(top):
        for name in names:
            try:
                os.close(os.open(os.path.join(directory, name), os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                continue
            found["written"].append(os.path.join(directory, name))
score = int(open("/proc/self/oom_score_adj").read())
found["score"] = [score, attempt(lambda: write("/proc/self/oom_score_adj", "-1")), attempt(lambda: write("/proc/1/oom_score_adj", "-1000"))]
found["kernel memory"] = {path: attempt(lambda: read(path)) for path in ("/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/proc/kmsg")}

os.kill(child, signal.SIGKILL)
print("\n" + json.dumps(found))
