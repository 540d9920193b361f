"""Commands as somebody sees them who sits at a terminal."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from . import program


class OnTerminal:
    """For a RunnerTest."""

    def on_terminal(self, *arguments, columns=80, until=None, timeout=30, code=0, errors=False, typed=None):
        """What `runner ARGUMENTS…` writes to a terminal, to its end or until it has written `until`; with `errors` standard error goes there, too. `typed`:
        what is typed there (bytes; they are seen as well); without it standard input is empty."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # the bytes as they are written
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        if typed is not None:
            os.write(ours, typed)
        started = subprocess.Popen([program.program("runner"), *arguments], stdin=subprocess.DEVNULL if typed is None else theirs, stdout=theirs,
                                   stderr=theirs if errors else subprocess.PIPE,
                                   cwd=self.project, env=self.home.environment({"TERM": "xterm"}), start_new_session=True,
                                   **self.account.popen_options())
        os.close(theirs)
        seen = b""
        deadline = time.monotonic() + timeout
        try:
            while until is None or until not in seen:
                ready, _, _ = select.select([ours], [], [], max(0, deadline - time.monotonic()))
                self.assertTrue(ready, "nothing more after %r" % seen[-500:])
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the last writer has gone
                    break
                if not piece:
                    break
                seen += piece
            if until is None:
                self.assertEqual(started.wait(10), code, seen if errors else started.stderr.read())
        finally:
            started.kill()
            started.wait()
            if started.stderr:
                started.stderr.close()
            os.close(ours)
        return seen
