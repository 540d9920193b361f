#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runner/core/error.hpp"
#include "runner/pipeline/hidden_path.hpp"
#include "runner/pipeline/script_command.hpp"

using runner::Error;
using runner::RunDefinition;
using Arguments = std::vector<std::string>;
namespace pipeline = runner::pipeline;

namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
};

RunDefinition definition(const Directory& source, const std::string& script, Arguments arguments = {}) {
  RunDefinition definition;
  definition.source_directory = source.path;
  definition.script = script;
  definition.arguments = std::move(arguments);
  return definition;
}

}  // namespace

TEST_CASE("a Python script runs with the environment's interpreter and its arguments untouched") {
  const Directory source;
  CHECK(pipeline::start_command(definition(source, "a.py", {"--x", "", "a b"}), "/usr/bin/python3").arguments ==
        Arguments{"/usr/bin/python3", "a.py", "--x", "", "a b"});
  CHECK(pipeline::start_command(definition(source, "-c.py"), "/usr/bin/python3").arguments ==
        Arguments{"/usr/bin/python3", "./-c.py"});
  CHECK_THROWS_AS(pipeline::start_command(definition(source, "a.py"), "").arguments, Error);
}

TEST_CASE("a shell script runs with sh, anything else by its first line") {
  const Directory source;
  source.write("tool", "#! /usr/bin/env  python3 -u \nprint()\n");
  source.write("plain", "no first line\n");
  CHECK(pipeline::start_command(definition(source, "a.sh", {"1"}), "").arguments == Arguments{"/bin/sh", "a.sh", "1"});
  CHECK(pipeline::start_command(definition(source, "tool", {"x"}), "").arguments ==
        Arguments{"/usr/bin/env", "python3 -u", "tool", "x"});
  CHECK_THROWS_AS(pipeline::start_command(definition(source, "plain"), "").arguments, Error);
}

TEST_CASE("a command is run exactly as given") {
  const Directory source;
  RunDefinition wanted = definition(source, "");
  wanted.command = {"sh", "-c", "echo $HOME"};
  CHECK(pipeline::start_command(wanted, "").arguments == wanted.command);
}

TEST_CASE("the script's environment is ours plus what was asked for, nothing of the daemon's") {
  ::setenv("RUNNER_UNIT_SECRET", "leak", 1);
  runner::RunRecord run;
  run.id = "exp_1_0a";
  run.experiment = "exp";
  run.environment.interpreter = "/opt/py/bin/python3";
  run.definition.environment_variables = {
      {"PYTHONPATH", "/mine"}, {"RUNNER_RUN_ID", "forged"}, {"LANG", "de_DE.UTF-8"}};
  run.definition.caller_variables = {{"TZ", "Europe/Berlin"}, {"LANG", "en_GB.UTF-8"}};
  const auto variables = pipeline::script_variables(run, {.user = "dev", .home = "/home/dev"});
  CHECK_FALSE(variables.contains("RUNNER_UNIT_SECRET"));
  CHECK(variables.at("PYTHONPATH") == std::string("/mine:") + pipeline::kPythonPackagePath);
  CHECK(variables.at("RUNNER_RUN_ID") == "exp_1_0a");
  CHECK(variables.at("AZUREML_RUN_ID") == "exp_1_0a");
  CHECK(variables.at("LANG") == "de_DE.UTF-8");
  CHECK(variables.at("TZ") == "Europe/Berlin");
  CHECK(variables.at("PATH").starts_with("/opt/py/bin:/usr/local/sbin"));
  CHECK(variables.at("HOME") == "/home/dev");
}

TEST_CASE("the snapshot is mounted at the source's own path unless that would cover what a run needs") {
  CHECK(pipeline::working_directory_for("/home/dev/project", "/home/dev") == "/home/dev/project");
  CHECK(pipeline::working_directory_for("/tmp/project", "/home/dev") == "/tmp/project");
  CHECK(pipeline::working_directory_for("/home/developer", "/home/dev") == "/home/developer");
  for (const char* covering :
       {"/home/dev", "/home", "/", "/usr", "/etc", "/tmp", "/run", "/proc/self/cwd", "/sys/x", "/dev/shm/p"})
    CHECK(pipeline::working_directory_for(covering, "/home/dev") == "/work");
}

TEST_CASE("the first existing absolute path on a complaining line is the hint") {
  const auto exists = [](const std::string& path) { return path == "/data/x.csv" || path == "/data/a b.csv"; };
  CHECK(pipeline::hidden_path_in("FileNotFoundError: [Errno 2] No such file or directory: '/data/x.csv'\n", exists) ==
        "/data/x.csv");
  CHECK(pipeline::hidden_path_in("No such file or directory: '/data/a b.csv'", exists) == "/data/a b.csv");
  CHECK(pipeline::hidden_path_in("cat: /data/x.csv: No such file or directory\n", exists) == "/data/x.csv");
  CHECK_FALSE(pipeline::hidden_path_in("reading /data/x.csv\n", exists));
  CHECK_FALSE(pipeline::hidden_path_in("No such file or directory: '/other'\n", exists));
  CHECK_FALSE(pipeline::hidden_path_in("No such file or directory: 'rel/data/x.csv'\n", exists));
  CHECK_FALSE(pipeline::hidden_path_in("", exists));
}
