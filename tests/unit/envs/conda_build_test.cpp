// Real conda prefixes, made by py-rattler from a channel that tests/functional/support/conda_channel.py builds here.
// Where py-rattler cannot be installed they are skipped, unless RUNNER_STRICT=1.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "envs/builders.hpp"
#include "envs/conda_client.hpp"
#include "envs/conda_prefix.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

using namespace runner;
using namespace runner::envs;
namespace fs = std::filesystem;

namespace {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "runner-conda-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Scratch() { os::remove_tree(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::map<std::string, std::string> environment_of_the_test() {
  std::map<std::string, std::string> variables;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    variables[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
  variables["PATH"] = "/usr/bin:/bin";
  return variables;
}

os::Captured output_of(const std::vector<std::string>& arguments) {
  return os::capture({.arguments = arguments, .environment = {"PATH=/usr/bin:/bin"}}, std::chrono::seconds(60));
}

struct Bench {
  Scratch directory;
  std::vector<std::string> told;
  std::vector<std::string> secrets;
  int prefixes = 0;

  BuildConsole console() {
    return BuildConsole({.log = directory.path() / "build.log",
                         .scratch = directory.path(),
                         .guard = fs::path(RUNNER_BIN_DIR) / "runner-guard",
                         .secrets = secrets,
                         .stopped = {},
                         .progress = [this](const std::string& line) { told.push_back(line); },
                         .deadline = os::monotonic_now() + std::chrono::minutes(5)});
  }
  std::string log() const { return os::read_file_if_exists(directory.path() / "build.log").value_or(""); }
  fs::path new_prefix() { return directory.path() / ("prefix-" + std::to_string(++prefixes)); }
};

// The tools and the channel of all tests of this process: a minute to get, once.
struct Shared {
  Scratch directory;
  std::string channel;
  std::string trouble;

  Shared() {
    const std::string maker = std::string(RUNNER_SOURCE_DIR) + "/tests/functional/support/conda_channel.py";
    const auto made = output_of({"/usr/bin/python3", maker, directory.path() / "channel"});
    if (made.exit_code != 0) throw std::runtime_error("the channel cannot be made: " + made.err);
    channel = made.out.substr(0, made.out.find('\n'));
    Bench bench;
    BuildConsole console = bench.console();
    try {
      find_conda_client(settings(), console);
    } catch (const Error& error) {
      trouble = error.message();
    }
  }
  BuildSettings settings() const {
    BuildSettings settings;
    settings.variables = environment_of_the_test();
    settings.conda_client = "py-rattler";
    settings.tools = directory.path() / "tools";
    settings.wheels = directory.path() / "wheels";
    return settings;
  }
};

const Shared* shared() {
  static const Shared everything;
  if (everything.trouble.empty()) return &everything;
  const char* strict = ::getenv("RUNNER_STRICT");
  if (strict != nullptr && std::string(strict) == "1") FAIL("py-rattler is needed: " + everything.trouble);
  std::cerr << "SKIPPED: " << everything.trouble << "\n";
  return nullptr;
}

BuildRequest request_for(const Shared& with, Bench& bench, std::vector<std::string> specs) {
  BuildRequest request{
      .specification = {}, .lock = {}, .prefix = bench.new_prefix(), .base = {}, .settings = with.settings()};
  request.specification.kind = SpecificationKind::kConda;
  request.specification.channels = {with.channel};
  request.specification.conda = std::move(specs);
  return request;
}

BuildResult build(const BuildRequest& request, Bench& bench) {
  BuildConsole console = bench.console();
  return build_conda(request, console);
}

Error failure_of(const BuildRequest& request, Bench& bench) {
  try {
    build(request, bench);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "it was built");
}

std::string names(const Lock& lock) {
  std::string all;
  for (const LockedPackage& package : lock.packages) all += package.name + "=" + package.version + " ";
  return all;
}

}  // namespace

TEST_CASE("a conda environment is built from a channel, runs, and is locked") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const BuildRequest request = request_for(*with, bench, {"activated", "banner", "greeting=1.0", "pip"});
  const BuildResult result = build(request, bench);

  CHECK(result.interpreter == (request.prefix / "bin/python").string());
  const auto said = output_of({result.interpreter, "-c", "import sys, greeting; print(sys.prefix); greeting.main()"});
  CHECK(said.out == request.prefix.string() + "\nhello world\n");
  CHECK(output_of({request.prefix / "bin/greet"}).out == "hello world\n");
  CHECK(output_of({request.prefix / "bin/banner"}).out == "banner of " + request.prefix.string() + "\n");
  CHECK(os::read_file(request.prefix / "share/banner/binary").find(request.prefix.string() + "/share") == 2);

  CHECK(names(result.lock).starts_with("activated=1.0 banner=1.0 greeting=1.0 pip="));
  CHECK(result.lock.python_version.starts_with("3."));
  for (const LockedPackage& package : result.lock.packages) {
    CHECK(package.manager == "conda");
    CHECK(package.url.starts_with(with->channel + "/"));
    CHECK(package.hash.starts_with("sha256:"));
    CHECK(package.channel == with->channel);
    CHECK_FALSE(package.build.empty());
  }
  CHECK(std::any_of(bench.told.begin(), bench.told.end(),
                    [](const std::string& line) { return line.find("linking greeting (") != std::string::npos; }));
  CHECK(bench.log().find("solved: 6 packages") != std::string::npos);
}

TEST_CASE("what activation exports is known without activating") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const BuildRequest request = request_for(*with, bench, {"activated"});
  const BuildResult result = build(request, bench);
  CHECK(result.variables ==
        std::map<std::string, std::string>{{"BANNER_HOME", request.prefix.string() + "/share/banner"},
                                           {"FROM_JSON", "yes"},
                                           {"GREETING", "two\nlines"}});
  CHECK(result.interpreter.empty());
  CHECK(result.lock.python_version.empty());
}

namespace {

// A wheel of one module, at `file`.
void write_wheel(const fs::path& file) {
  const char* script =
      "import sys, zipfile\n"
      "with zipfile.ZipFile(sys.argv[1], 'w') as wheel:\n"
      "    wheel.writestr('wheeled.py', 'import words\\nprint(\"from a wheel:\", words.WORDS[0])\\n')\n"
      "    info = 'wheeled-1.5.dist-info/'\n"
      "    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: wheeled\\nVersion: 1.5\\n')\n"
      "    wheel.writestr(info + 'WHEEL', "
      "'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
      "    wheel.writestr(info + 'RECORD', 'wheeled.py,,\\n' + ''.join(info + n + ',,\\n' for n in ('METADATA', "
      "'WHEEL', 'RECORD')))\n";
  fs::create_directories(file.parent_path());
  const auto made = output_of({"/usr/bin/python3", "-c", script, file});
  REQUIRE(made.err.empty());
}

}  // namespace

TEST_CASE("a pip list is installed inside, beside conda's packages, and locked") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const fs::path wheels = bench.directory.path() / "index";
  write_wheel(wheels / "wheeled-1.5-py3-none-any.whl");
  BuildRequest request = request_for(*with, bench, {"pip", "words"});
  request.specification.pip = {"wheeled>=1"};
  request.specification.pip_options = {"--no-index", "--find-links=" + wheels.string()};
  const BuildResult result = build(request, bench);
  CHECK(output_of({result.interpreter, "-c", "import wheeled"}).out == "from a wheel: hello\n");
  REQUIRE_FALSE(result.lock.packages.empty());
  const LockedPackage& last = result.lock.packages.back();
  CHECK(last.manager == "pip");
  CHECK(last.name == "wheeled");
  CHECK(last.version == "1.5");
  CHECK(std::count_if(result.lock.packages.begin(), result.lock.packages.end(),
                      [](const LockedPackage& package) { return package.manager == "pip"; }) == 1);

  BuildRequest again = request;
  again.lock = result.lock;
  again.prefix = bench.new_prefix();
  CHECK(build(again, bench).lock == result.lock);

  BuildRequest without = request_for(*with, bench, {"words"});
  without.specification.conda = {"banner"};
  without.specification.pip = {"wheeled"};
  CHECK(failure_of(without, bench).message() == "a pip list, but no Python in the environment");
}

TEST_CASE("a lock brings the same packages back though the channel has newer ones") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const BuildResult first = build(request_for(*with, bench, {"greeting=1.0", "words=1.0"}), bench);
  BuildRequest again = request_for(*with, bench, {"greeting"});
  again.lock = first.lock;
  const BuildResult second = build(again, bench);
  CHECK(second.lock == first.lock);
  CHECK(output_of({again.prefix / "bin/greet"}).out == "hello\n");
  const std::string record = os::read_file(again.prefix / "conda-meta/greeting-1.0-py_0.json");
  CHECK(record.find("words >=1") != std::string::npos);  // what depends on what is known as after the first build
}

TEST_CASE("a lock whose package is gone or another file says which") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  Lock lock = build(request_for(*with, bench, {"banner"}), bench).lock;
  BuildRequest again = request_for(*with, bench, {"banner"});
  again.settings.tools = bench.directory.path() / "tools";
  fs::create_directories(again.settings.tools);
  const std::string environment = std::string("py-rattler-") + kPyRattlerVersion;
  fs::create_directory_symlink(with->settings().tools / environment, again.settings.tools / environment);

  again.lock = lock;
  again.lock->packages[0].hash = "sha256:" + std::string(64, '0');
  Error error = failure_of(again, bench);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK_THAT(error.message(), Catch::Contains("banner 1.0") && Catch::Contains("expected 0000"));

  again.lock = lock;
  again.lock->packages[0].url = with->channel + "/linux-64/banner-0.9-0.conda";
  error = failure_of(again, bench);
  CHECK(error.code() == ErrorCode::kUnavailable);
  CHECK_THAT(error.message(), Catch::Contains("banner-0.9-0.conda") && Catch::Contains("No such file"));
}

TEST_CASE("a package that the channel's index does not vouch for is refused") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const Error error = failure_of(request_for(*with, bench, {"tampered"}), bench);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK_THAT(error.message(), Catch::Contains("tampered 1.0") && Catch::Contains("expected"));
}

TEST_CASE("what cannot be solved is explained") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const auto says = [&](std::vector<std::string> specs) {
    const Error error = failure_of(request_for(*with, bench, std::move(specs)), bench);
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message().find("Traceback") == std::string::npos);
    return error.message();
  };
  CHECK_THAT(says({"clash", "greeting=2"}), Catch::Contains("clash") && Catch::Contains("greeting 1.*"));
  CHECK_THAT(says({"orphan"}), Catch::Contains("nowhere-to-be-found >=2"));
  CHECK_THAT(says({"no-such-package"}), Catch::Contains("No candidates were found for no-such-package"));
  CHECK_THAT(says({"newer-glibc"}), Catch::Contains("__glibc >=99"));
}

TEST_CASE("virtual packages are those of the place the prefix is for") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  const BuildRequest request = request_for(*with, bench, {"newer-glibc"});
  BuildConsole console = bench.console();
  CondaPrefixOptions options;
  options.virtual_packages = {{"glibc", "99.1"}};
  CHECK(names(build_conda_prefix(request, options, console).lock) == "newer-glibc=1.0 ");
}

TEST_CASE("a channel that does not answer is named") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench bench;
  BuildRequest request = request_for(*with, bench, {"a"});
  request.specification.channels = {"file:///nowhere/channel"};
  CHECK_THAT(failure_of(request, bench).message(), Catch::Contains("/nowhere/channel"));
}

TEST_CASE("two builds at once share one package cache") {
  const Shared* with = shared();
  if (with == nullptr) return;
  Bench first;
  Bench second;
  const BuildRequest one = request_for(*with, first, {"greeting"});
  const BuildRequest two = request_for(*with, second, {"greeting"});
  BuildResult result_of_one;
  std::jthread other([&] { result_of_one = build(one, first); });
  const BuildResult result = build(two, second);
  other.join();
  CHECK(result.lock == result_of_one.lock);
}

// --- finding a client
// ------------------------------------------------------------------------------------------------------

namespace {

fs::path script(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "#!/bin/sh\n" << text;
  REQUIRE(::chmod(file.c_str(), 0755) == 0);
  return file;
}

BuildSettings settings_with(const fs::path& bin, const fs::path& tools, const std::string& configured = "") {
  BuildSettings settings;
  settings.variables = {{"PATH", bin.string() + ":/usr/bin:/bin"}, {"PIP_NO_INDEX", "1"}, {"PYTHONPATH", "/evil"}};
  settings.conda_client = configured;
  settings.tools = tools;
  return settings;
}

}  // namespace

TEST_CASE("the first conda client on PATH that starts is taken") {
  Bench bench;
  const fs::path bin = bench.directory.path() / "bin";
  BuildConsole console = bench.console();
  const BuildSettings settings = settings_with(bin, bench.directory.path() / "tools");
  script(bin / "rattler", "echo rattler 0.2.0\n");
  CHECK(find_conda_client(settings, console).flavour == CondaFlavour::kRattler);
  script(bin / "conda", "echo conda 23.11.0\n");
  CHECK(find_conda_client(settings, console).name == "conda 23.11.0");
  script(bin / "mamba", "echo 2.0.5\n");
  CHECK(find_conda_client(settings, console).major == 2);
  script(bin / "micromamba", "echo 1.5.8\n");
  const CondaClient client = find_conda_client(settings, console);
  CHECK(client.flavour == CondaFlavour::kMicromamba);
  CHECK(client.name == "micromamba 1.5.8");
  CHECK(client.program == bin / "micromamba");
  script(bin / "micromamba", "echo 'pyenv: micromamba: command not found' >&2; exit 127\n");
  CHECK(find_conda_client(settings, console).flavour == CondaFlavour::kMamba);
}

TEST_CASE("a configured client that cannot be used is an error that names the configuration") {
  Bench bench;
  const fs::path bin = bench.directory.path() / "bin";
  script(bin / "micromamba", "echo 1.5.8\n");
  const std::string broken = script(bin / "broken", "exit 3\n");
  const std::string other = script(bin / "other", "echo hello\n");
  const std::string mine = script(bin / "my-client", "echo conda 24.1.0\n");
  BuildConsole console = bench.console();
  const auto says = [&](const std::string& configured) {
    try {
      return find_conda_client(settings_with(bin, bench.directory.path() / "tools", configured), console).name;
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kInvalid);
      return error.message();
    }
  };
  CHECK(says(mine) == "conda 24.1.0");
  CHECK(says("micromamba") == "micromamba 1.5.8");
  CHECK(says("/nowhere/conda") == "config.toml: conda = \"/nowhere/conda\": no such file");
  CHECK(says("nowhere") == "config.toml: conda = \"nowhere\": no such program on PATH");
  CHECK(says("./conda") == "config.toml: conda = \"./conda\": not an absolute path");
  CHECK(says(bin) == "config.toml: conda = \"" + bin.string() + "\": not executable");
  CHECK_THAT(says(broken), Catch::Contains("does not start"));
  CHECK_THAT(says(other), Catch::Contains("none of micromamba, mamba, conda and rattler"));
}

TEST_CASE("without any client and without an index the error says what was looked for and what to do") {
  Bench bench;
  BuildConsole console = bench.console();
  const fs::path tools = bench.directory.path() / "tools";
  try {
    find_conda_client(settings_with(bench.directory.path() / "bin", tools), console);
    FAIL("a client was found");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK_THAT(error.message(),
               Catch::StartsWith("no conda client: none of micromamba, mamba, conda, rattler on PATH") &&
                   Catch::Contains("py-rattler"));
    CHECK_THAT(error.hint(), Catch::Contains("config.toml"));
  }
  // Half an installation is none: it is made anew.
  CHECK_FALSE(fs::exists(tools / (std::string("py-rattler-") + kPyRattlerVersion) / ".complete"));
}
