// Real virtual environments: pip and, where this machine has it, uv, against wheels that the tests make themselves. The
// network is not needed: every index is a directory, or a server of the test's own on the loopback.
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

namespace runner::envs {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

constexpr const char* kMakeWheel = R"PYTHON(
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

// A simple index that asks for a password and forbids caching: argv: directory, port file.
constexpr const char* kServe = R"PYTHON(
import base64, http.server, os, sys
root = sys.argv[1]
want = "Basic " + base64.b64encode(b"me:hunter2").decode()
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        if self.headers.get("Authorization") != want:
            self.send_response(401); self.send_header("WWW-Authenticate", "Basic realm=x"); self.send_header("Content-Length", "0"); self.end_headers(); return
        part = self.path.strip("/").split("/")
        if part[0] == "simple" and len(part) == 2:
            names = sorted(name for name in os.listdir(root) if name.split("-")[0].replace("_", "-") == part[1])
            body, kind = "".join('<a href="/files/%s">%s</a>\n' % (name, name) for name in names).encode(), "text/html"
            if not names: self.send_response(404); self.send_header("Content-Length", "0"); self.end_headers(); return
        else:
            with open(os.path.join(root, part[-1]), "rb") as stream: body, kind = stream.read(), "application/octet-stream"
        self.send_response(200); self.send_header("Content-Type", kind); self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store"); self.end_headers()
        if self.command == "GET": self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[2] + ".new", "w") as stream: stream.write(str(server.server_port))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
)PYTHON";

enum class With { kPip, kUv };

// uv as the machine has it: beside the tests' other tools on PATH.
std::optional<fs::path> machine_uv() {
  const char* path = std::getenv("PATH");
  return find_uv({{"PATH", path == nullptr ? "" : path}});
}

bool available(With with) {
  if (with == With::kPip || machine_uv()) return true;
  if (std::getenv("RUNNER_STRICT") != nullptr) FAIL("uv is not on PATH");
  WARN("uv is not on PATH: its part of this test is skipped");
  return false;
}

// A Python with venv and ensurepip.
std::string base_python() { return "/usr/bin/python3"; }

std::string run_python(const std::string& python, std::vector<std::string> arguments) {
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

Specification no_packages() {
  Specification specification;
  specification.kind = SpecificationKind::kVenv;
  return specification;
}

std::string version_in(const BuildResult& built, const std::string& module) {
  return run_python(built.interpreter, {"-c", "import " + module + "; print(" + module + ".version)"});
}

bool version_missing(const BuildResult& built, const std::string& module) {
  return run_python(built.interpreter,
                    {"-c", "import importlib.util; print(importlib.util.find_spec('" + module + "'))"}) == "None";
}

// Python's server, for as long as the object lives.
class Server {
 public:
  explicit Server(const Workshop& workshop) {
    const fs::path port_file = workshop.path / "port";
    child_ = os::spawn({.arguments = {base_python(), "-c", kServe, workshop.links.string(), port_file.string()},
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

void check_build_and_rebuild(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-alpha", "1.0", {"tiny-beta>=1"});
  workshop.wheel("tiny-beta", "1.5");
  const fs::path beta = workshop.wheel("tiny-beta", "2.0");
  const auto specification = workshop.read(workshop.offline("Tiny_Alpha\n")).specification;

  const BuildResult built = workshop.build(specification);
  CHECK(version_in(built, "tiny_alpha") == "1.0");
  CHECK(version_in(built, "tiny_beta") == "2.0");
  REQUIRE(built.lock.packages.size() == 2);
  const LockedPackage& locked = built.lock.packages[1];
  CHECK(locked.manager == "pip");
  CHECK(locked.name == "tiny-beta");
  CHECK(locked.version == "2.0");
  CHECK(locked.build == "py3-none-any");
  CHECK(locked.url == file_url(beta.string()));
  CHECK(locked.hash == "sha256:" + digest_of_file(beta).hex());
  CHECK(built.lock.python_version ==
        run_python(base_python(), {"-c", "import platform; print(platform.python_version())"}));
  CHECK(fs::path(built.interpreter).parent_path().parent_path().filename() == "prefix1");
  CHECK(std::any_of(workshop.told.begin(), workshop.told.end(),
                    [](const auto& line) { return line.starts_with("installing "); }));

  // Everything the tools could have fetched it from is gone.
  workshop.stock(specification, built);
  os::remove_tree(workshop.links);
  workshop.forget_caches();
  const BuildResult again = workshop.build(specification, built.lock);
  CHECK(again.lock == built.lock);
  CHECK(version_in(again, "tiny_beta") == "2.0");

  // So is our own copy.
  const std::string hash = locked.hash.substr(std::string("sha256:").size());
  os::remove_tree(workshop.settings.wheels / hash);
  workshop.forget_caches();
  const Error missing = workshop.failure(specification, built.lock);
  CHECK(missing.code() == ErrorCode::kUnavailable);
  CHECK_THAT(missing.message(), Contains("tiny-beta 2.0 (" + locked.url + ")") && !Contains("tiny-alpha 1.0 ("));
}

void check_failures(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-alpha", "1.0", {"tiny-beta>=1"});
  workshop.wheel("tiny-beta", "2.0");
  workshop.wheel("tiny-gamma", "1.0", {"tiny-beta<2"});
  const BuildResult empty = workshop.build(no_packages());
  CHECK(empty.lock.packages.empty());
  const auto failing = [&](const std::string& requirements) {
    const Error error = workshop.install_failure(empty, workshop.read(workshop.offline(requirements)).specification);
    CHECK(error.code() == ErrorCode::kInvalid);
    return error.message();
  };
  CHECK_THAT(failing("no-such-thing"), Contains("no-such-thing"));
  CHECK_THAT(failing("tiny-beta>3"), Contains("tiny-beta") && Contains(">3"));
  CHECK_THAT(failing("tiny-alpha\ntiny-gamma\ntiny-beta==2.0"), Contains("tiny-gamma") && Contains("tiny-beta<2"));
  const std::string wrong(64, '0');
  CHECK_THAT(failing("tiny-beta==2.0 --hash=sha256:" + wrong), Contains("tiny-beta") && Contains(wrong));
  CHECK_THAT(failing("--require-hashes\ntiny-beta==2.0"), Contains("tiny-beta") && Contains("--require-hashes"));

  // A local wheel that is not what it was.
  const auto local = workshop.read("links/tiny_beta-2.0-py3-none-any.whl").specification;
  std::ofstream(workshop.links / "tiny_beta-2.0-py3-none-any.whl", std::ios::app) << "x";
  CHECK_THAT(workshop.install_failure(empty, local).message(), Contains("has changed since"));
  CHECK(version_missing(empty, "tiny_beta"));
}

// The lock stays right when what it names does not.
void check_changed_artefact(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  const fs::path beta = workshop.wheel("tiny-beta", "2.0");
  const auto specification = workshop.read(workshop.offline("tiny-beta")).specification;
  const BuildResult built = workshop.build(specification);
  workshop.wheel("tiny-beta", "2.0", {"tiny-alpha"});
  REQUIRE("sha256:" + digest_of_file(beta).hex() != built.lock.packages.at(0).hash);
  workshop.forget_caches();
  const Error error = workshop.install_failure(workshop.build(no_packages()), specification, built.lock);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK_THAT(error.message(), Contains("tiny-beta 2.0") && Contains("hash mismatch"));
}

void check_credentials(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-alpha", "1.0", {"tiny-beta"});
  workshop.wheel("tiny-beta", "2.0");
  auto server = std::make_unique<Server>(workshop);
  const std::string host = "127.0.0.1:" + server->port();
  const auto read =
      workshop.read("--index-url http://me:hunter2@" + host + "/simple\ntiny-alpha\ntiny-beta @ http://me:hunter2@" +
                    host + "/files/tiny_beta-2.0-py3-none-any.whl\n");
  workshop.settings.credentials = read.credentials;
  workshop.secrets = pip_secrets(read.specification, workshop.settings);
  CHECK(workshop.secrets == std::vector<std::string>{"hunter2"});
  const BuildResult built = workshop.build(read.specification);
  INFO(workshop.log());
  CHECK(version_in(built, "tiny_alpha") == "1.0");
  REQUIRE(built.lock.packages.size() == 2);
  CHECK(built.lock.packages[0].url == "http://" + host + "/files/tiny_alpha-1.0-py3-none-any.whl");
  CHECK(built.lock.packages[1].url == "http://" + host + "/files/tiny_beta-2.0-py3-none-any.whl");

  // A wrong password is told, and still not shown.
  Specification wrong = read.specification;
  const auto right = std::exchange(workshop.settings.credentials, {});
  for (const auto& [url, full] : right) {
    std::string other = full;
    workshop.settings.credentials[url] = other.replace(other.find("hunter2"), 7, "wr0ngpass");
  }
  workshop.secrets.push_back("wr0ngpass");
  workshop.forget_caches();
  const BuildResult empty = workshop.build(no_packages());
  CHECK_THAT(workshop.install_failure(empty, wrong).message(), Contains("401") && !Contains("wr0ngpass"));
  workshop.settings.credentials = right;

  // From the lock with the network; then without, though the index forbids every cache.
  CHECK(workshop.build(read.specification, built.lock).lock == built.lock);
  workshop.stock(read.specification, built);
  server.reset();
  const BuildResult again = workshop.build(read.specification, built.lock);
  CHECK(again.lock == built.lock);
  CHECK(version_in(again, "tiny_beta") == "2.0");
  CHECK_THAT(workshop.log() + to_json(built.lock) + to_json(read.specification),
             !Contains("hunter2") && !Contains("wr0ngpass"));
}

// As in a conda prefix: what is there already counts.
void check_shared_prefix(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-beta", "1.5");
  const BuildResult built = workshop.build(workshop.read(workshop.offline("tiny-beta")).specification);
  workshop.wheel("tiny-alpha", "1.0", {"tiny-beta>=1"});
  workshop.wheel("tiny-beta", "2.0");
  const auto more = workshop.read(workshop.offline("tiny-alpha")).specification;
  auto tools = workshop.console();
  const auto prefix = fs::path(built.interpreter).parent_path().parent_path();
  const auto install = [&] {
    return install_pip({.specification = more,
                        .lock = std::nullopt,
                        .prefix = prefix,
                        .settings = workshop.settings,
                        .shared = true},
                       tools)
        .packages;
  };
  const auto added = install();
  REQUIRE(added.size() == 1);
  CHECK(added[0].name == "tiny-alpha");
  CHECK(added[0].hash == "sha256:" + digest_of_file(workshop.links / "tiny_alpha-1.0-py3-none-any.whl").hex());
  CHECK(version_in(built, "tiny_beta") == "1.5");
  CHECK(install().empty());
}

}  // namespace

TEST_CASE("pip leaves what another manager has installed") { check_shared_prefix(With::kPip); }
TEST_CASE("uv leaves what another manager has installed") { check_shared_prefix(With::kUv); }

TEST_CASE("a Python that is not the wanted one is refused before anything is made") {
  Workshop workshop(With::kPip);
  Specification specification = no_packages();
  specification.pip_options = {"--requires-python=>=99"};
  CHECK_THAT(workshop.failure(specification).message(), Contains("wants Python >=99") && Contains(base_python()));
  const Lock lock{.python_version = "2.7.18", .image = {}, .packages = {}};
  CHECK_THAT(workshop.failure(no_packages(), lock).message(), Contains("the lock was made with Python 2.7.18"));
  CHECK_FALSE(fs::exists(workshop.path / "prefix1"));
}

TEST_CASE("a Python without venv names the package that has it") {
  Workshop workshop(With::kPip);
  const fs::path python = workshop.path / "python3";
  std::ofstream(python)
      << "#!/bin/sh\necho 'The virtual environment was not created successfully because ensurepip is not'\n"
         "echo 'available.  On Debian/Ubuntu systems, you need to install the python3-venv'\nexit 1\n";
  fs::permissions(python, fs::perms::owner_all);
  auto request = workshop.request(no_packages());
  request.base.executable = python;
  auto tools = workshop.console();
  try {
    build_venv(request, tools);
    FAIL("it was built");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK_THAT(error.hint(), Contains("apt install python3-venv"));
  }
}

TEST_CASE("a shim of a version manager is no uv") {
  Workshop workshop(With::kPip);
  std::ofstream(workshop.path / "bin" / "uv") << "#!/bin/sh\nexit 127\n";
  fs::permissions(workshop.path / "bin" / "uv", fs::perms::owner_all);
  CHECK_FALSE(find_uv({{"PATH", (workshop.path / "bin").string()}}));
}

TEST_CASE("secrets are found wherever a tool would take them from") {
  Specification specification = no_packages();
  specification.pip_options = {"--index-url=https://me:${TOKEN}@host/simple", "--extra-index-url=https://b/simple"};
  BuildSettings settings;
  settings.credentials = {{"https://b/simple", "https://t0ken@b/simple"}};
  settings.variables = {{"TOKEN", "fromVariable"},
                        {"PIP_EXTRA_INDEX_URL", "https://c/simple https://u:fromPip@d/simple"},
                        {"UV_INDEX", "name=https://u:fromUv@e/simple"},
                        {"https_proxy", "http://u:fromProxy@p:3128"},
                        {"UV_INDEX_X_PASSWORD", "fromPassword"},
                        {"PATH", "/usr/bin"}};
  auto found = pip_secrets(specification, settings);
  std::sort(found.begin(), found.end());
  CHECK(found == std::vector<std::string>{"fromPassword", "fromPip", "fromProxy", "fromUv", "fromVariable", "t0ken"});
}

TEST_CASE("pip builds, and builds again without a network") { check_build_and_rebuild(With::kPip); }
TEST_CASE("uv builds, and builds again without a network") { check_build_and_rebuild(With::kUv); }
TEST_CASE("pip says why requirements cannot be had") { check_failures(With::kPip); }
TEST_CASE("uv says why requirements cannot be had") { check_failures(With::kUv); }
TEST_CASE("pip does not take another file for a locked one") { check_changed_artefact(With::kPip); }
TEST_CASE("uv does not take another file for a locked one") { check_changed_artefact(With::kUv); }
TEST_CASE("pip is given credentials, and nobody sees them") { check_credentials(With::kPip); }
TEST_CASE("uv is given credentials, and nobody sees them") { check_credentials(With::kUv); }

}  // namespace runner::envs
