"""An engine that answers as a test says and has no containers: for what no real one does when it is asked to."""
import http.server
import json
import os
import shutil
import socketserver
import tempfile
import threading


class FakeEngine:
    def __init__(self, handle):
        """`handle(method, path)` → (status, JSON object); the path is without version and query. What only asks for facts
        and for what is left of containers is answered already."""
        self.directory = tempfile.mkdtemp(prefix="rt-fake-engine-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        socket = os.path.join(self.directory, "engine.sock")
        self.address = "unix://" + socket
        self.asked = []  # "METHOD path"
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.take_body()
                path = self.path.split("?")[0]
                if path == "/version":
                    status, body = 200, {"ApiVersion": "1.41", "Version": "20.10", "Os": "linux", "Arch": "amd64"}
                else:
                    path = "/" + path.split("/", 2)[2]
                    asked.append(self.command + " " + path)
                    known = {"/info": {}, "/containers/json": [], "/volumes": {}}
                    status, body = (200, known[path]) if path in known else handle(self.command, path)
                content = json.dumps(body).encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PUT = answer

            def take_body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    return
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()

            def address_string(self):
                return "a test"

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(socket, Handler)
        os.chmod(socket, 0o666)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.directory, ignore_errors=True)
