// Real interpreters, real shims, a real disk. "Starts no process" is checked with a virtual environment whose Python
// leaves its process id whenever it starts (a wrapper around it would be a shim, which is asked every time).
#include "envs/interpreter.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

constexpr const char* kSystemPython = "/usr/bin/python3";

struct Directory {
  fs::path path;
  Directory() {
    std::string pattern = (fs::temp_directory_path() / "envs-test-XXXXXX").string();
    path = fs::canonical(::mkdtemp(pattern.data()));
  }
  ~Directory() {
    try {
      os::remove_tree(path);
    } catch (const Error&) {
    }
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
};

void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << content;
}

void write_program(const fs::path& file, const std::string& content) {
  write(file, content);
  fs::permissions(file, fs::perms::owner_all);
}

// As `python3 -m venv --without-pip` makes it.
std::string make_venv(const fs::path& root, const std::string& version) {
  fs::create_directories(root / "bin");
  fs::create_symlink(kSystemPython, root / "bin" / "python3");
  fs::create_symlink("python3", root / "bin" / "python");
  write(root / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\nversion = " + version + "\n");
  const std::string minor = version.substr(0, version.rfind('.'));
  const fs::path site = root / "lib" / ("python" + minor) / "site-packages";
  fs::create_directories(site);
  return site;
}

// The stamps' clock moves in ticks; a file that changed while its interpreter was asked is not remembered. Tests that
// are about remembering date their files back instead of waiting.
void make_old(const fs::path& root) {
  const auto past = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (!entry.is_symlink()) fs::last_write_time(entry, past);
  fs::last_write_time(root, past);
}

struct World {
  Directory directory;
  fs::path home = directory.path / "home";
  fs::path cache = directory.path / "cache";
  Caller caller{.directory = directory.path, .variables = {{"PATH", "/usr/bin:/bin"}, {"HOME", home.string()}}};
  InterpreterProbe probe{cache};

  World() { fs::create_directories(home); }

  std::string version() const { return probe.resolve(kSystemPython, caller).version; }
  Error failure(const std::optional<std::string>& python) const {
    try {
      probe.resolve(python, caller);
    } catch (const Error& error) {
      return error;
    }
    FAIL("no error");
    throw;
  }
};

bool contains(const std::vector<std::string>& list, const fs::path& path) {
  return std::find(list.begin(), list.end(), path.string()) != list.end();
}

// Distinct lines: a virtual environment runs its .pth files twice.
std::size_t starts_in(const fs::path& file) {
  std::ifstream stream(file);
  return std::set<std::string>(std::istream_iterator<std::string>(stream), {}).size();
}

// A venv whose Python writes its process id into `count` when it starts.
fs::path counting_venv(const World& world, const fs::path& count) {
  const fs::path root = world.directory.path / "counting";
  const fs::path site = make_venv(root, world.version());
  write(site / "count.pth",
        "import os; open('" + count.string() + "', 'a').write(str(os.getpid()) + '\\n'); print('noise')\n");
  make_old(root);
  return root;
}

}  // namespace

TEST_CASE("the system's Python says where it lives") {
  const World world;
  const Interpreter python = world.probe.resolve(kSystemPython, world.caller);
  CHECK(python.executable == kSystemPython);
  CHECK_THAT(python.version, Catch::StartsWith("3."));
  CHECK(contains(python.prefixes, "/usr"));
  REQUIRE_FALSE(python.search_path.empty());
  for (const std::string& entry : python.search_path) {
    CHECK(fs::path(entry).is_absolute());
    CHECK(fs::exists(entry));
    CHECK(entry != "/");
  }
}

TEST_CASE("without --python the caller's PATH decides, and the answer does not depend on the way there") {
  const World world;
  const Interpreter by_path = world.probe.resolve(std::nullopt, world.caller);
  const Interpreter by_name = world.probe.resolve("python3", world.caller);
  const Interpreter by_file = world.probe.resolve(kSystemPython, world.caller);
  CHECK(by_path.executable == by_file.executable);
  CHECK(by_path.digest == by_file.digest);
  CHECK(by_name.digest == by_file.digest);
}

TEST_CASE("a virtual environment keeps its own executable and shows its base") {
  World world;
  const fs::path root = world.directory.path / "venv";
  const fs::path site = make_venv(root, world.version());

  SECTION("named by --python, relative to the caller's directory") {
    const Interpreter python = world.probe.resolve("venv/bin/python", world.caller);
    CHECK(python.executable == (root / "bin" / "python").string());
    CHECK(contains(python.prefixes, root));
    CHECK(contains(python.prefixes, "/usr"));
    CHECK(contains(python.search_path, site));
  }
  SECTION("active") {
    world.caller.variables["VIRTUAL_ENV"] = root;
    CHECK(world.probe.resolve(std::nullopt, world.caller).executable == (root / "bin" / "python").string());
  }
  SECTION("an active conda environment counts when there is no virtual one") {
    world.caller.variables["CONDA_PREFIX"] = root;
    CHECK(world.probe.resolve(std::nullopt, world.caller).executable == (root / "bin" / "python").string());
  }
  SECTION("active and then deleted: an error, not another Python") {
    fs::remove_all(root);
    world.caller.variables["VIRTUAL_ENV"] = root;
    const Error error = world.failure(std::nullopt);
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("VIRTUAL_ENV=" + root.string()));
    CHECK_THAT(error.hint(), Contains("--python"));
  }
  SECTION("its base is gone") {
    fs::remove(root / "bin" / "python3");
    fs::create_symlink("/nowhere/python3", root / "bin" / "python3");
    CHECK(world.failure("venv/bin/python").code() == ErrorCode::kInvalid);
  }
  SECTION("named by its directory") {
    CHECK(world.failure(root.string()).hint() == "--python " + (root / "bin/python").string());
  }
}

TEST_CASE("PYTHON variables and the caller's directory do not leak into the answer") {
  World world;
  write(world.directory.path / "json.py", "raise SystemExit('shadowed')\n");
  world.caller.variables["PYTHONPATH"] = world.directory.path;
  world.caller.variables["PYTHONHOME"] = "/nowhere";
  const Interpreter python = world.probe.resolve(kSystemPython, world.caller);
  CHECK_FALSE(contains(python.search_path, world.directory.path));
}

TEST_CASE("the user site and what .pth files add are on the search path") {
  World world;
  const std::string version = world.version();
  const fs::path site =
      world.home / ".local/lib" / ("python" + version.substr(0, version.rfind('.'))) / "site-packages";
  const fs::path project = world.directory.path / "project";
  fs::create_directories(project / "src");
  write(site / "project.pth", (project / "src").string() + "\n");

  SECTION("an editable install by path") {
    const Interpreter python = world.probe.resolve(kSystemPython, world.caller);
    CHECK(contains(python.search_path, site));
    CHECK(contains(python.search_path, project / "src"));
  }
  SECTION("an editable install by import hook") {
    write(project / "src" / "demo" / "__init__.py", "");
    write(site / "__editable___demo_finder.py", "MAPPING = {'demo': '" + (project / "src" / "demo").string() +
                                                    "', 'gone': '/nowhere/gone'}\nNAMESPACES = {}\n");
    write(site / "__editable__.demo.pth", "import __editable___demo_finder\n");
    const Interpreter python = world.probe.resolve(kSystemPython, world.caller);
    CHECK(contains(python.prefixes, project / "src" / "demo"));
    CHECK_FALSE(contains(python.prefixes, "/nowhere/gone"));
  }
  SECTION("another HOME is another answer") {
    const Interpreter with = world.probe.resolve(kSystemPython, world.caller);
    world.caller.variables["HOME"] = "/nonexistent";
    CHECK(world.probe.resolve(kSystemPython, world.caller).digest != with.digest);
  }
}

TEST_CASE("a shim is asked where it leads, in the caller's directory and with the caller's variables") {
  World world;
  const fs::path shim = world.directory.path / "shims" / "python3";
  write_program(shim,
                "#!/bin/sh\necho a version manager says hello\n[ \"$CHOICE\" = \"$(cat choice)\" ] || exit 9\n"
                "exec /usr/bin/python3 \"$@\"\n");
  write(world.directory.path / "choice", "this\n");
  world.caller.variables["PATH"] = shim.parent_path().string() + ":/usr/bin:/bin";
  world.caller.variables["CHOICE"] = "this";
  CHECK(world.probe.resolve(std::nullopt, world.caller).executable == kSystemPython);

  world.caller.variables["CHOICE"] = "another";
  const Error error = world.failure(std::nullopt);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK_THAT(error.message(), Contains(shim.string()) && Contains("exit code 9"));
}

TEST_CASE("the links of an executable outside its prefixes are visible, their parents are not") {
  const World world;
  fs::create_directories(world.home / "bin");
  fs::create_symlink(kSystemPython, world.home / "bin" / "python3");
  const Interpreter python = world.probe.resolve((world.home / "bin" / "python3").string(), world.caller);
  CHECK(contains(python.prefixes, world.home / "bin"));
  CHECK_FALSE(contains(python.prefixes, world.home));
}

TEST_CASE("what is no Python is refused with its name and a way out") {
  World world;
  const fs::path program = world.directory.path / "program";
  SECTION("missing") {
    CHECK_THAT(world.failure("./program").message(), Contains("--python ./program: no such file"));
    CHECK_THAT(world.failure("python9").message(), Contains("--python python9: no such program on PATH"));
    CHECK_THAT(world.failure("").message(), Contains("--python: empty"));
  }
  SECTION("not executable") {
    write(program, "#!/bin/sh\n");
    CHECK_THAT(world.failure(program).message(), Contains("not executable"));
  }
  SECTION("its own failure is quoted") {
    write_program(program, "#!/bin/sh\necho first >&2; echo version 3.99 is not installed >&2; exit 1\n");
    CHECK_THAT(world.failure(program).message(), Contains("exit code 1): version 3.99 is not installed"));
  }
  SECTION("an unusable first line") {
    write_program(program, "#!/nowhere/python\n");
    CHECK_THAT(world.failure(program).message(), Contains("does not start as Python"));
  }
  SECTION("another program") {
    CHECK_THAT(world.failure("/bin/true").message(), Contains("is no Python"));
    CHECK(world.failure("/bin/ls").code() == ErrorCode::kInvalid);
  }
  SECTION("another program under Python's name") {
    fs::copy_file("/bin/true", world.directory.path / "python3");
    CHECK_THAT(world.failure("./python3").message(), Contains("is no Python"));
  }
  SECTION("one that hangs") {
    write_program(program, "#!/bin/sh\nsleep 60\n");
    world.probe = InterpreterProbe(world.cache, std::chrono::milliseconds(100));
    CHECK_THAT(world.failure(program).message(), Contains("no answer within 100 ms"));
  }
  SECTION("no Python at all") {
    world.caller.variables["PATH"] = world.home;
    const Error error = world.failure(std::nullopt);
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK_THAT(error.hint(), Contains("--python"));
  }
  CHECK(fs::is_empty(world.directory.path / "home"));
}

TEST_CASE("a remembered interpreter starts no process") {
  const World world;
  const fs::path count = world.directory.path / "count";
  const fs::path root = counting_venv(world, count);
  const std::string python = root / "bin" / "python";

  const Interpreter first = world.probe.resolve(python, world.caller);
  REQUIRE(starts_in(count) == 1);
  const Interpreter again = world.probe.resolve(python, world.caller);
  CHECK(starts_in(count) == 1);
  CHECK(again.digest == first.digest);
  CHECK(again.search_path == first.search_path);
  CHECK(again.prefixes == first.prefixes);
  CHECK(again.version == first.version);

  SECTION("also by another probe over the same directory") {
    CHECK(InterpreterProbe(world.cache).resolve(python, world.caller).digest == first.digest);
    CHECK(starts_in(count) == 1);
  }
  SECTION("until the memory is deleted") {
    fs::remove_all(world.cache);
    world.probe.resolve(python, world.caller);
    CHECK(starts_in(count) == 2);
  }
  SECTION("or damaged") {
    for (const auto& entry : fs::directory_iterator(world.cache)) std::ofstream(entry.path()) << "{\"version\": 1";
    world.probe.resolve(python, world.caller);
    CHECK(starts_in(count) == 2);
  }
}

TEST_CASE("a remembered answer ends when something it depends on changes") {
  const World world;
  const fs::path count = world.directory.path / "count";
  const fs::path root = counting_venv(world, count);
  const std::string python = root / "bin" / "python";
  const std::string version = world.version();
  const fs::path site = root / "lib" / ("python" + version.substr(0, version.rfind('.'))) / "site-packages";
  const fs::path added = world.directory.path / "added";
  write(site / "later.pth", added.string() + "\n");
  make_old(root);
  world.probe.resolve(python, world.caller);
  world.probe.resolve(python, world.caller);
  REQUIRE(starts_in(count) == 1);

  SECTION("a new .pth file") { write(site / "new.pth", "/usr\n"); }
  SECTION("a changed .pth file") { std::ofstream(site / "later.pth") << "/usr/share\n"; }
  SECTION("pyvenv.cfg") { std::ofstream(root / "pyvenv.cfg", std::ios::app) << "prompt = x\n"; }
  SECTION("a directory that a .pth file named before it existed") { fs::create_directories(added); }
  SECTION("the executable") {
    fs::remove(root / "bin" / "python3");
    fs::copy_file(kSystemPython, root / "bin" / "python3");
  }
  world.probe.resolve(python, world.caller);
  CHECK(starts_in(count) == 2);
}

TEST_CASE("what is remembered can be had without a process, and nothing else") {
  const World world;
  const fs::path count = world.directory.path / "count";
  const fs::path root = counting_venv(world, count);
  const std::string python = root / "bin" / "python";
  CHECK_FALSE(world.probe.remembered(python, world.caller));
  const Interpreter asked = world.probe.resolve(python, world.caller);
  REQUIRE(starts_in(count) == 1);
  const auto known = world.probe.remembered(python, world.caller);
  REQUIRE(known);
  CHECK(known->digest == asked.digest);
  CHECK(known->executable == asked.executable);
  CHECK(known->identity == asked.identity);
  const std::string version = world.version();
  write(root / "lib" / ("python" + version.substr(0, version.rfind('.'))) / "site-packages" / "new.pth", "/usr\n");
  CHECK_FALSE(world.probe.remembered(python, world.caller));
  const fs::path shim = world.directory.path / "shim";
  write_program(shim, "#!/bin/sh\necho x >> " + count.string() + "\nexec /usr/bin/python3 \"$@\"\n");
  CHECK_FALSE(world.probe.remembered(shim.string(), world.caller));
  CHECK(starts_in(count) == 1);
  CHECK_THROWS_AS(world.probe.remembered("/no/such/python", world.caller), Error);
}

TEST_CASE("a file that changed while its interpreter was asked is not trusted") {
  const World world;
  const fs::path count = world.directory.path / "count";
  const fs::path root = counting_venv(world, count);
  fs::last_write_time(root / "pyvenv.cfg", fs::file_time_type::clock::now() + std::chrono::milliseconds(5));
  world.probe.resolve((root / "bin" / "python").string(), world.caller);
  CHECK(fs::directory_iterator(world.cache) !=
        fs::directory_iterator());  // of the system's Python, asked for its version
  CHECK(std::distance(fs::directory_iterator(world.cache), fs::directory_iterator()) == 1);
}

TEST_CASE("a memory that cannot be written costs only time") {
  World world;
  write(world.directory.path / "file", "");
  world.probe = InterpreterProbe(world.directory.path / "file" / "cache");
  CHECK(world.probe.resolve(kSystemPython, world.caller).executable == kSystemPython);
}

}  // namespace runner::envs
