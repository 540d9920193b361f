"""The scripts that history.py submits. Each writes what it has measured to outputs/measured.json, in seconds unless it says otherwise."""

_TELL = """
os.makedirs("outputs", exist_ok=True)
with open("outputs/measured.json", "w") as file:
    json.dump(measured, file)
"""

# log() in one process, in eight, and records that are ready, as fast as the daemon takes them in.
POINTS = """\
import json, os, time
import runner
run = runner.Run.get_context()
measured = {"one": [], "one by cpu": [], "ready": []}

BATCH = 100_000
log = runner.log
for batch in range(5):
    begin, by_cpu = time.perf_counter(), time.process_time()
    for i in range(BATCH):
        log("one", 1.0 / (i + 1), step=i)
    measured["one"].append((time.perf_counter() - begin) * 1e6 / BATCH)  # us a call
    measured["one by cpu"].append((time.process_time() - by_cpu) * 1e6 / BATCH)
measured["one points"] = 5 * BATCH
run.get_status()  # answered when all is in the history: what follows begins with a daemon that has nothing to do

EACH = 50_000
begin, children = time.perf_counter(), []
for worker in range(8):
    pid = os.fork()
    if pid == 0:
        for i in range(EACH):
            log("eight", worker + 1.0 / (i + 1), step=i)
        os._exit(0)
    children.append(pid)
if any(os.waitpid(pid, 0)[1] for pid in children):
    raise SystemExit("a process failed")
measured["eight points"] = 8 * EACH
measured["eight"] = 8 * EACH / (time.perf_counter() - begin)  # points a second
run.get_status()

PART, PARTS = 200_000, 5
journal = os.open(os.environ["RUNNER_METRICS"], os.O_WRONLY | os.O_APPEND)
for part in range(PARTS):
    records = [('\\x1e{"metric": "ready", "value": %r, "step": %d, "time": %d}\\n' % (1.0 / (i + 1), i, time.time_ns() // 1000)).encode()
               for i in range(part * PART, (part + 1) * PART)]
    pieces = [b"".join(records[at:at + 5000]) for at in range(0, PART, 5000)]
    begin = time.perf_counter()
    for piece in pieces:
        if os.write(journal, piece) != len(piece):
            raise SystemExit("the journal is full")
    run.get_status()
    measured["ready"].append(time.perf_counter() - begin)
measured["ready points"] = PART * PARTS
""" + _TELL

# A file of random bytes, as weights are hard to compress; each time another hundredth of it is new. Then `fresh` others.
CHECKPOINTS = """\
import json, os, subprocess, sys, time
import runner
run = runner.Run.get_context()
size, count, fresh = map(int, sys.argv[1:])
measured = {"new": {"dd": [], "copied": [], "stored": []}, "changed": {"dd": [], "copied": [], "stored": []}}

def fill(file, left):
    while left:
        left -= file.write(os.urandom(min(left, 1 << 20)))

def hand_over(name, into):
    begin = time.perf_counter()
    subprocess.run(["dd", "if=checkpoint", "of=copy", "bs=1M", "conv=fsync", "status=none"], check=True)
    into["dd"].append(time.perf_counter() - begin)
    os.unlink("copy")
    begin = time.perf_counter()
    run.upload_file(name, "checkpoint")
    into["copied"].append(time.perf_counter() - begin)
    while name not in run.get_file_names():
        time.sleep(0.005)
    into["stored"].append(time.perf_counter() - begin)

for number in range(count):
    with open("checkpoint", "r+b" if number else "wb") as file:
        file.seek(size * number // count if number else 0)
        fill(file, size // 100 if number else size)
        file.flush()
        os.fsync(file.fileno())
    hand_over("checkpoints/%d" % number, measured["changed" if number else "new"])
for number in range(fresh):
    with open("checkpoint", "wb") as file:
        fill(file, size)
        file.flush()
        os.fsync(file.fileno())
    hand_over("new/%d" % number, measured["new"])
""" + _TELL
