// What the tests of virtual environments share: pip and, where this machine has it, uv, with wheels that the tests make
// themselves. The network is not needed: every index is a directory, or a server of the test's own on the loopback.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "envs/artefact_name.hpp"
#include "envs/builders.hpp"
#include "envs/digest.hpp"
#include "envs/pip_install.hpp"
#include "envs/specification_files.hpp"
#include "envs/wheel_store.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::envs::test {

namespace fs = std::filesystem;
using Catch::Contains;

inline constexpr const char* kMakeWheel = R"PYTHON(
import base64, hashlib, sys, zipfile
directory, name, version = sys.argv[1:4]
module = name.replace("-", "_")
info = "%s-%s.dist-info/" % (module, version)
files = {
    module + ".py": "version = %r\n" % version,
    info + "METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
        + "".join("Requires-Dist: %s\n" % one for one in sys.argv[4:]),
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = "".join("%s,sha256=%s,%d\n" % (path, base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode(), len(text))
                 for path, text in files.items())
files[info + "RECORD"] = record + info + "RECORD,,\n"
with zipfile.ZipFile("%s/%s-%s-py3-none-any.whl" % (directory, module, version), "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
)PYTHON";

// A simple index that asks for a password, and knows hashes where it allows caching. argv: directory, port file, what
// it says of caching.
inline constexpr const char* kServe = R"PYTHON(
import base64, hashlib, http.server, os, sys
root = sys.argv[1]
want = "Basic " + base64.b64encode(b"me:hunter2").decode()
def fragment(name):
    if sys.argv[3] == "no-store": return ""
    with open(os.path.join(root, name), "rb") as stream: return "#sha256=" + hashlib.sha256(stream.read()).hexdigest()
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        if self.headers.get("Authorization") != want:
            self.send_response(401); self.send_header("WWW-Authenticate", "Basic realm=x"); self.send_header("Content-Length", "0"); self.end_headers(); return
        part = self.path.split("?")[0].strip("/").split("/")
        if part[0] == "simple" and len(part) == 2:
            names = sorted(name for name in os.listdir(root) if name.split("-")[0].replace("_", "-") == part[1])
            body, kind = "".join('<a href="/files/%s%s">%s</a>\n' % (name, fragment(name), name) for name in names).encode(), "text/html"
            if not names: self.send_response(404); self.send_header("Content-Length", "0"); self.end_headers(); return
        else:
            with open(os.path.join(root, part[-1]), "rb") as stream: body, kind = stream.read(), "application/octet-stream"
        self.send_response(200); self.send_header("Content-Type", kind); self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", sys.argv[3]); self.end_headers()
        if self.command == "GET": self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[2] + ".new", "w") as stream: stream.write(str(server.server_port))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
)PYTHON";

enum class With { kPip, kUv };

// uv as the machine has it: beside the tests' other tools on PATH.
inline std::optional<fs::path> machine_uv() {
  const char* path = std::getenv("PATH");
  return find_uv({{"PATH", path == nullptr ? "" : path}});
}

inline bool available(With with) {
  if (with == With::kPip || machine_uv()) return true;
  if (std::getenv("RUNNER_STRICT") != nullptr) FAIL("uv is not on PATH");
  WARN("uv is not on PATH: its part of this test is skipped");
  return false;
}

// A Python with venv and ensurepip.
inline std::string base_python() { return "/usr/bin/python3"; }

inline std::string run_python(const std::string& python, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), python);
  const auto captured =
      os::capture({.arguments = arguments, .environment = {"PATH=/usr/bin:/bin"}}, std::chrono::seconds(60));
  INFO(captured.err);
  REQUIRE(captured.exit_code == 0);
  return captured.out.substr(0, captured.out.find('\n'));
}

struct Workshop {
  fs::path path;
  fs::path links;
  With with;
  int builds = 0;
  std::vector<std::string> told;
  std::vector<std::string> secrets;
  BuildSettings settings;

  explicit Workshop(With tool) : with(tool) {
    std::string pattern = (fs::temp_directory_path() / "venv-test-XXXXXX").string();
    path = fs::canonical(::mkdtemp(pattern.data()));
    links = path / "links";
    fs::create_directories(links);
    fs::create_directories(path / "bin");
    if (tool == With::kUv) fs::create_symlink(*machine_uv(), path / "bin" / "uv");
    settings.variables = {{"PATH", (path / "bin").string() + ":/usr/bin:/bin"},
                          {"HOME", (path / "home").string()},
                          {"UV_CACHE_DIR", (path / "uv-cache").string()},
                          {"PIP_CACHE_DIR", (path / "pip-cache").string()},
                          {"PIP_RETRIES", "0"},
                          {"UV_HTTP_RETRIES", "0"}};
    settings.wheels = path / "copies";
  }
  ~Workshop() {
    try {
      os::remove_tree(path);
    } catch (const Error&) {
    }
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  fs::path wheel(const std::string& name, const std::string& version,
                 const std::vector<std::string>& requires_ = {}) const {
    std::vector<std::string> arguments{"-c", kMakeWheel, links.string(), name, version};
    arguments.insert(arguments.end(), requires_.begin(), requires_.end());
    run_python(base_python(), arguments);
    std::string module = name;
    std::replace(module.begin(), module.end(), '-', '_');
    return links / (module + "-" + version + "-py3-none-any.whl");
  }

  ReadSpecification read(const std::string& requirements) const {
    std::ofstream(path / "requirements.txt") << requirements;
    return read_requirements(path / "requirements.txt");
  }
  std::string offline(const std::string& requirements) const {
    return "--no-index\n--find-links " + links.string() + "\n" + requirements;
  }

  fs::path scratch() const { return path / ("scratch" + std::to_string(builds)); }
  BuildConsole console() {
    fs::create_directories(scratch());
    return BuildConsole({.log = path / "build.log",
                         .scratch = scratch(),
                         .guard = fs::path(RUNNER_BIN_DIR) / "runner-guard",
                         .secrets = secrets,
                         .stopped = {},
                         .progress = [this](const std::string& line) { told.push_back(line); },
                         .deadline = os::monotonic_now() + std::chrono::minutes(5)});
  }

  BuildRequest request(const Specification& specification, const std::optional<Lock>& lock = std::nullopt) {
    ++builds;
    Interpreter base;
    base.executable = base_python();
    base.version = run_python(base_python(), {"-c", "import platform; print(platform.python_version())"});
    return {.specification = specification,
            .lock = lock,
            .prefix = path / ("prefix" + std::to_string(builds)),
            .base = base,
            .settings = settings};
  }
  BuildResult build(const Specification& specification, const std::optional<Lock>& lock = std::nullopt) {
    const auto wanted = request(specification, lock);
    auto tools = console();
    return build_venv(wanted, tools);
  }
  Error failure(const Specification& specification, const std::optional<Lock>& lock = std::nullopt) {
    try {
      build(specification, lock);
    } catch (const Error& error) {
      return error;
    }
    FAIL("it was built");
    throw;
  }
  // Into a prefix that is there.
  Error install_failure(const BuildResult& into, const Specification& specification,
                        const std::optional<Lock>& lock = std::nullopt) {
    ++builds;
    auto tools = console();
    try {
      install_pip({.specification = specification,
                   .lock = lock,
                   .prefix = fs::path(into.interpreter).parent_path().parent_path(),
                   .settings = settings},
                  tools);
    } catch (const Error& error) {
      return error;
    }
    FAIL("it was installed");
    throw;
  }
  void stock(const Specification& specification, const BuildResult& built) {
    auto tools = console();
    stock_wheels(specification, built.lock, fs::path(built.interpreter).parent_path().parent_path(), settings, tools);
  }
  void forget_caches() const {
    os::remove_tree(path / "uv-cache");
    os::remove_tree(path / "pip-cache");
  }
  std::string log() const { return os::read_file_if_exists(path / "build.log").value_or(""); }
};

inline Specification no_packages() {
  Specification specification;
  specification.kind = SpecificationKind::kVenv;
  return specification;
}

inline std::string version_in(const BuildResult& built, const std::string& module) {
  return run_python(built.interpreter, {"-c", "import " + module + "; print(" + module + ".version)"});
}

inline bool version_missing(const BuildResult& built, const std::string& module) {
  return run_python(built.interpreter,
                    {"-c", "import importlib.util; print(importlib.util.find_spec('" + module + "'))"}) == "None";
}

// Python's server, for as long as the object lives.
class Server {
 public:
  explicit Server(const Workshop& workshop, const std::string& caching = "no-store") {
    const fs::path port_file = workshop.path / "port";
    child_ =
        os::spawn({.arguments = {base_python(), "-c", kServe, workshop.links.string(), port_file.string(), caching},
                   .environment = {"PATH=/usr/bin:/bin"},
                   .directory = {},
                   .new_session = true});
    const auto deadline = os::monotonic_now() + std::chrono::seconds(20);
    while (!fs::exists(port_file) && os::monotonic_now() < deadline) ::usleep(10'000);
    port_ = os::read_file(port_file);
  }
  ~Server() {
    os::signal_process(child_.pidfd, SIGKILL);
    ::waitpid(child_.pid, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  const std::string& port() const { return port_; }

 private:
  os::Child child_{};
  std::string port_;
};

}  // namespace runner::envs::test
