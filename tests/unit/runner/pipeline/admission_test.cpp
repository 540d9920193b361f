#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "runner/core/error.hpp"
#include "runner/pipeline/admission.hpp"
#include "runner/pipeline/configuration.hpp"
#include "runner/pipeline/script_command.hpp"

using namespace std::chrono_literals;
using runner::Error;
using runner::ErrorCode;
namespace api = runner::api;
namespace pipeline = runner::pipeline;

namespace {

struct Source {
  std::filesystem::path path;
  Source() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    path = std::filesystem::canonical(::mkdtemp(pattern.data()));
    write("train.py", "print()\n");
  }
  ~Source() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  api::Submission submission(const std::string& script = "train.py") const {
    api::Submission submission;
    submission.source_directory = path;
    submission.script = script;
    return submission;
  }
};

// The error that admission ends with.
Error refusal(const api::Submission& submission) {
  try {
    pipeline::admit(submission);
  } catch (const Error& error) {
    return error;
  }
  throw std::runtime_error("was admitted");
}

}  // namespace

TEST_CASE("a script is named relative to the source, in any spelling") {
  const Source source;
  source.write("sub/x.py", "");
  CHECK(pipeline::admit(source.submission()).run.definition.script == "train.py");
  CHECK(pipeline::admit(source.submission("./sub/../train.py")).run.definition.script == "train.py");
  CHECK(pipeline::admit(source.submission((source.path / "sub/x.py").string())).run.definition.script == "sub/x.py");
}

TEST_CASE("a missing script, one outside the source and a directory are refused before a run exists") {
  const Source source;
  source.write("sub/x.py", "");
  CHECK(refusal(source.submission("nope.py")).message().find("nope.py: no such file") != std::string::npos);
  CHECK(refusal(source.submission("../x.py")).message().find("outside the source directory") != std::string::npos);
  CHECK(refusal(source.submission("/etc/passwd")).message().find("outside the source directory") != std::string::npos);
  CHECK(refusal(source.submission("sub")).message().find("not a regular file") != std::string::npos);
  for (const char* script : {"nope.py", "../x.py", "/etc/passwd", "sub"}) {
    CHECK(refusal(source.submission(script)).code() == ErrorCode::kInvalid);
  }
}

TEST_CASE("the root and the home directory are snapshotted only when named") {
  api::Submission submission;
  submission.script = "x.py";
  for (const std::string& directory : {std::string("/"), pipeline::own_account().home}) {
    submission.source_directory = directory;
    submission.source_directory_explicit = false;
    const Error error = refusal(submission);
    CHECK(error.message().find("refusing to snapshot") != std::string::npos);
    CHECK(error.hint().find("--source-dir") != std::string::npos);
    submission.source_directory_explicit = true;
    CHECK(refusal(submission).message().find("refusing") == std::string::npos);  // goes on to the missing script
  }
}

TEST_CASE("durations, sizes and switches are parsed and named when wrong") {
  const Source source;
  auto submission = source.submission();
  submission.max_run_duration = "30m";
  submission.grace = "2s";
  submission.memory = "512m";
  submission.cpus = "1.5";
  submission.pids = "100";
  submission.network = "off";
  const auto definition = pipeline::admit(submission).run.definition;
  CHECK(definition.max_run_duration == 30min);
  CHECK(definition.grace == 2s);
  CHECK(definition.memory_bytes == 512 << 20);
  CHECK(definition.cpus == 1.5);
  CHECK(definition.pids == 100);
  CHECK_FALSE(definition.network);

  const auto wrong = [&](auto member, const char* value) {
    auto changed = source.submission();
    changed.*member = value;
    return refusal(changed).message();
  };
  CHECK(wrong(&api::Submission::max_run_duration, "soon").find("--max-run-duration") == 0);
  CHECK(wrong(&api::Submission::max_run_duration, "0").find("--max-run-duration") == 0);
  CHECK(wrong(&api::Submission::memory, "1k").find("--memory") == 0);
  CHECK(wrong(&api::Submission::cpus, "-1").find("--cpus") == 0);
  CHECK(wrong(&api::Submission::pids, "1.5").find("--pids") == 0);
  CHECK(wrong(&api::Submission::network, "maybe").find("--network") == 0);
  CHECK(wrong(&api::Submission::isolation, "docker").find("--isolation docker") == 0);
  CHECK(wrong(&api::Submission::experiment, "../x").find("--experiment") == 0);
}

TEST_CASE("a mount is SRC:DST with an optional mode and never covers what is the sandbox's") {
  const auto mount = pipeline::parse_mount("/usr/share:/data/in/:rw");
  CHECK(mount.source == "/usr/share");
  CHECK(mount.target == "/data/in");
  CHECK(mount.writable);
  CHECK_FALSE(pipeline::parse_mount("/usr:/u").writable);
  for (const char* text :
       {"", "/usr", "/usr:", ":/x", "usr:/x", "/usr:x", "/no/such/thing:/x", "/usr:/", "/usr:/proc/self",
        "/usr:/run/runner", "/usr:/x/../dev", "/usr:/run/secrets", "/usr:/run/secrets/TOKEN"})
    CHECK_THROWS_AS(pipeline::parse_mount(text), Error);
}

TEST_CASE("an experiment is named after the directory, made legal") {
  CHECK(pipeline::experiment_name_from("my project (2)") == "my-project-2");
  CHECK(pipeline::experiment_name_from(".hidden") == "hidden");
  CHECK(pipeline::experiment_name_from("étude") == "tude");
  CHECK(pipeline::experiment_name_from("---") == "default");
}

TEST_CASE("only the locale of the caller's environment reaches the run") {
  const Source source;
  auto submission = source.submission();
  submission.caller_variables = {{"LANG", "x"}, {"LC_ALL", "y"}, {"TZ", "z"}, {"PATH", "/p"}, {"AWS_SECRET", "s"}};
  const auto kept = pipeline::admit(submission).run.definition.caller_variables;
  CHECK(kept == std::map<std::string, std::string>{{"LANG", "x"}, {"LC_ALL", "y"}, {"TZ", "z"}});
}

TEST_CASE("the command line wins over the runconfig") {
  const Source source;
  source.write(".runner/fast.runconfig",
               "script: train.py\narguments: [--epochs, 3]\nmaxRunDurationSeconds: 60\n"
               "environment_variables: {A: config, B: config}\n");
  auto submission = source.submission();
  submission.script.reset();
  submission.config = "fast";
  submission.environment_variables = {{"A", "flag"}};
  auto definition = pipeline::admit(submission).run.definition;
  CHECK(definition.script == "train.py");
  CHECK(definition.arguments == std::vector<std::string>{"--epochs", "3"});
  CHECK(definition.max_run_duration == 60s);
  CHECK(definition.environment_variables == std::map<std::string, std::string>{{"A", "flag"}, {"B", "config"}});
  submission.max_run_duration = "5s";
  submission.arguments = std::vector<std::string>{"x"};
  definition = pipeline::admit(submission).run.definition;
  CHECK(definition.max_run_duration == 5s);
  CHECK(definition.arguments == std::vector<std::string>{"x"});
}

TEST_CASE("the configuration file is optional, and wrong keys are named with their line") {
  const Source directory;
  CHECK(pipeline::load_configuration(directory.path / "none.toml").parallel == 1);
  directory.write("config.toml", "parallel = 3\ncache_dirs = ['.cache/x']\n");
  const auto configuration = pipeline::load_configuration(directory.path / "config.toml");
  CHECK(configuration.parallel == 3);
  CHECK(configuration.cache_directories == std::vector<std::string>{".cache/x"});
  CHECK(configuration.checkout_bytes == std::int64_t{10} << 30);
  directory.write("config.toml", "checkout_cache = '1.5g'\ncheckout_count = 7\n");
  CHECK(pipeline::load_configuration(directory.path / "config.toml").checkout_bytes == std::int64_t{3} << 29);
  CHECK(pipeline::load_configuration(directory.path / "config.toml").checkout_count == 7);
  for (const char* text : {"\nparalel = 3\n", "\nparallel = 0\n", "\nparallel = 'x'\n", "\nparallel = = 1\n",
                           "\ncheckout_cache = 10\n", "\ncheckout_cache = 'much'\n", "\ncheckout_count = -1\n"}) {
    directory.write("config.toml", text);
    try {
      pipeline::load_configuration(directory.path / "config.toml");
      FAIL("accepted: " << text);
    } catch (const Error& error) {
      CHECK(error.message().find("config.toml:2:") != std::string::npos);
    }
  }
}

TEST_CASE("an image means docker, and docker means an image") {
  const Source source;
  auto submission = source.submission();
  submission.image = "python:3.11";
  const auto admission = pipeline::admit(submission);
  CHECK(admission.run.definition.isolation == runner::Isolation::kDocker);
  CHECK(admission.run.definition.image == "python:3.11");
  CHECK_FALSE(admission.interpreter_required);
  CHECK_FALSE(admission.python);
  submission.isolation = "docker";
  CHECK(pipeline::admit(submission).run.definition.isolation == runner::Isolation::kDocker);
  CHECK(pipeline::admit(source.submission()).interpreter_required);

  for (const char* other : {"sandbox", "none"}) {
    submission.isolation = other;
    CHECK(refusal(submission).code() == ErrorCode::kInvalid);
    CHECK(refusal(submission).message() == "--isolation " + std::string(other) + ": an image runs in docker");
  }
  auto bare = source.submission();
  bare.isolation = "docker";
  CHECK(refusal(bare).code() == ErrorCode::kInvalid);
  CHECK(refusal(bare).message() == "--isolation docker: needs an image");
  CHECK(refusal(bare).hint() == "--image REF");
  bare.isolation = "none";
  CHECK(refusal(bare).code() == ErrorCode::kUnavailable);
  bare.isolation = "jail";
  CHECK(refusal(bare).message() == "--isolation: 'jail' is unknown");
}

TEST_CASE("an image and an interpreter of this machine exclude each other, and an image must have a legal name") {
  const Source source;
  auto submission = source.submission();
  submission.image = "python:3.11";
  submission.python = "/usr/bin/python3";
  CHECK(refusal(submission).message() == "at most one of --python, --image");
  submission.python.reset();
  submission.image = "Python";
  CHECK(refusal(submission).message() == "--image Python: the repository must be lowercase");
}

TEST_CASE("a runconfig's image counts with all that its docker section says") {
  const Source source;
  source.write(".runner/box.runconfig",
               "environment_variables: {A: config}\n"
               "environment:\n  python: {interpreterPath: /opt/python}\n  docker: {enabled: true, baseImage: base:1}\n"
               "docker:\n  shmSize: 1g\n"
               "  arguments: [-m, 1g, --cpus, 2, --pids-limit=50, --network=mynet, -e, A=docker, -e, B=docker,\n"
               "              -v, '/usr:/data', --hostname, box, --label, team=ml]\n");
  auto submission = source.submission();
  submission.config = "box";
  auto admission = pipeline::admit(submission);
  const auto& definition = admission.run.definition;
  CHECK(definition.isolation == runner::Isolation::kDocker);
  CHECK(definition.image == "base:1");
  CHECK(definition.image_interpreter == "/opt/python");
  CHECK(definition.memory_bytes == 1 << 30);
  CHECK(definition.shm_bytes == 1 << 30);
  CHECK(definition.cpus == 2);
  CHECK(definition.pids == 50);
  CHECK(definition.network);
  CHECK(definition.engine.network == "mynet");
  CHECK(definition.engine.hostname == "box");
  CHECK(definition.engine.labels.at("team") == "ml");
  CHECK(definition.environment_variables == std::map<std::string, std::string>{{"A", "config"}, {"B", "docker"}});
  REQUIRE(definition.mounts.size() == 1);
  CHECK(definition.mounts[0].writable);
  CHECK_FALSE(admission.python);
  CHECK_FALSE(admission.interpreter_required);

  // What was typed wins, one by one.
  submission.image = "other:2";
  submission.memory = "2g";
  submission.network = "off";
  submission.mounts = {"/usr/share:/data"};
  admission = pipeline::admit(submission);
  CHECK(definition.image == "other:2");
  CHECK(definition.image_interpreter == "/opt/python");
  CHECK(definition.memory_bytes == 2LL << 30);
  CHECK_FALSE(definition.network);
  CHECK(definition.engine.network.empty());
  REQUIRE(definition.mounts.size() == 1);
  CHECK(definition.mounts[0].source == "/usr/share");
  CHECK_FALSE(definition.mounts[0].writable);
}

TEST_CASE("--python replaces a runconfig's image with everything that belongs to it") {
  const Source source;
  source.write(".runner/box.runconfig",
               "environment: {docker: {enabled: true, baseImage: base:1, arguments: [-m, 1g, -v, '/usr:/data']}}\n");
  auto submission = source.submission();
  submission.config = "box";
  submission.python = "/usr/bin/python3";
  const auto admission = pipeline::admit(submission);
  CHECK(admission.run.definition.isolation == runner::Isolation::kSandbox);
  CHECK(admission.run.definition.image.empty());
  CHECK_FALSE(admission.run.definition.memory_bytes);
  CHECK(admission.run.definition.mounts.empty());
  CHECK(admission.python == "/usr/bin/python3");
  CHECK(admission.interpreter_required);

  submission.python.reset();
  submission.isolation = "sandbox";
  CHECK(refusal(submission).message() ==
        "--isolation sandbox: .runner/box.runconfig:1: 'environment.docker.enabled: true' names an image");
}

TEST_CASE("--image replaces a runconfig's interpreter on this machine and serves one that names no image") {
  const Source source;
  source.write(".runner/host.runconfig", "environment: {python: {interpreterPath: venv/bin/python}}\n");
  source.write(".runner/on.runconfig", "\ndocker: {useDocker: true}\n");
  auto submission = source.submission();
  submission.config = "host";
  CHECK(pipeline::admit(submission).python == (source.path / "venv/bin/python").string());
  submission.image = "base:1";
  CHECK_FALSE(pipeline::admit(submission).python);
  CHECK(pipeline::admit(submission).run.definition.image_interpreter.empty());
  submission.config = "on";
  CHECK(pipeline::admit(submission).run.definition.image == "base:1");
  submission.image.reset();
  CHECK(refusal(submission).message() == ".runner/on.runconfig:2: 'docker.useDocker: true', but no image is named");
  CHECK(refusal(submission).hint().find("environment.docker.baseImage") != std::string::npos);
}

TEST_CASE("a mount or tmpfs of a runconfig is judged as one of the command line, and named by its line") {
  const Source source;
  for (const auto& [word, part] : std::vector<std::pair<std::string, std::string>>{
           {"-v, '/no/such/thing:/x'", "-v /no/such/thing:/x:rw: there is no /no/such/thing"},
           {"-v, '/usr:/run/secrets'", "-v /usr:/run/secrets:rw: /run/secrets is the run's own"},
           {"--tmpfs, /proc", "--tmpfs /proc: /proc is the run's own"}}) {
    source.write(".runner/m.runconfig", "docker:\n  useDocker: true\n  arguments: [" + word + "]\n");
    auto submission = source.submission();
    submission.config = "m";
    submission.image = "base";
    CHECK(refusal(submission).message() == ".runner/m.runconfig:3: docker.arguments: " + part);
  }
}

TEST_CASE("values of secrets are found but never part of the run's record") {
  const Source source;
  source.write("secrets.toml", "FILED = 'from the file'\n");
  std::filesystem::permissions(source.path / "secrets.toml", std::filesystem::perms::owner_read);
  auto submission = source.submission();
  submission.secrets = {"FILED", "OFFERED"};
  submission.caller_secrets = {{"FILED", "from the caller"}, {"OFFERED", "from the caller"}, {"MORE", "x"}};
  const auto admission = pipeline::admit(submission, source.path / "secrets.toml");
  CHECK(admission.secrets ==
        std::map<std::string, std::string>{{"FILED", "from the file"}, {"OFFERED", "from the caller"}});
  CHECK(admission.run.definition.secrets == std::vector<std::string>{"FILED", "OFFERED"});
  CHECK(admission.run.definition.environment_variables.empty());
  submission.environment_variables = {{"OFFERED", "x"}};
  CHECK(refusal(submission).message().find("--secret OFFERED: a recorded variable has the same name") == 0);
}
