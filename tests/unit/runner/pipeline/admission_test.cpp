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

namespace {

// As a submission with these options would have left it.
runner::RunRecord original_of(const Source& source) {
  runner::RunRecord run;
  run.id = "exp_1700000000_0123abcd";
  run.name = run.id;
  run.experiment = "exp";
  run.tags = {{"kept", std::nullopt}, {"changed", "old"}};
  run.properties = {{"mine", "x"}};
  run.queue.priority = 7;
  run.idempotency_key = "key";
  run.parent = "parent";
  run.definition.source_directory = "/no/longer/there";
  run.definition.script = "train.py";
  run.definition.arguments = {"--lr", "0.1"};
  run.definition.max_run_duration = 90s;
  run.definition.memory_bytes = 64 << 20;
  run.definition.mounts = {{.source = source.path, .target = "/data", .writable = true}};
  run.definition.environment_variables = {{"A", "1"}, {"B", "2"}};
  run.definition.caller_variables = {{"LANG", "de_DE.UTF-8"}};
  return run;
}

Error refusal_again(const runner::RunRecord& original, const api::Submission& overrides,
                    const std::filesystem::path& secrets_file = "/none") {
  try {
    pipeline::admit_again(original, overrides, secrets_file);
  } catch (const Error& error) {
    return error;
  }
  throw std::runtime_error("was admitted");
}

}  // namespace

TEST_CASE("a repetition without overrides has the original's definition, and a life of its own") {
  const Source source;
  const auto original = original_of(source);
  const auto admission = pipeline::admit_again(original, {}, "/none");
  const auto& run = admission.run;
  CHECK(run.experiment == "exp");
  CHECK(run.name.empty());  // an unnamed run is named after its own id
  CHECK(run.tags == original.tags);
  CHECK(run.properties == original.properties);
  CHECK(run.queue.priority == 0);
  CHECK_FALSE(run.idempotency_key);
  CHECK_FALSE(run.parent);
  CHECK_FALSE(run.snapshot);
  CHECK(run.definition.source_directory == "/no/longer/there");
  CHECK(run.definition.arguments == original.definition.arguments);
  CHECK(run.definition.max_run_duration == 90s);
  CHECK(run.definition.memory_bytes == 64 << 20);
  CHECK(run.definition.mounts.size() == 1);
  CHECK(run.definition.environment_variables == original.definition.environment_variables);
  CHECK(run.definition.caller_variables == original.definition.caller_variables);
  CHECK(admission.interpreter_required);
  auto named = original;
  named.name = "best";
  CHECK(pipeline::admit_again(named, {}, "/none").run.name == "best");
}

TEST_CASE("overrides replace single values and merge into maps") {
  const Source source;
  api::Submission overrides;
  overrides.arguments = {"--lr", "0.2"};
  overrides.name = "again";
  overrides.experiment = "other";
  overrides.tags = {{"changed", "new"}, {"more", std::nullopt}};
  overrides.properties = {{"mine", "y"}};
  overrides.max_run_duration = "5m";
  overrides.memory = "128m";
  overrides.cpus = "0.5";
  overrides.pids = "9";
  overrides.shm_size = "1m";
  overrides.grace = "1s";
  overrides.network = "off";
  overrides.mounts = {"/usr:/data", "/usr:/more:rw"};
  overrides.environment_variables = {{"B", "3"}, {"C", "4"}};
  overrides.priority = -3;
  const auto run = pipeline::admit_again(original_of(source), overrides, "/none").run;
  CHECK(run.definition.arguments == std::vector<std::string>{"--lr", "0.2"});
  CHECK(run.name == "again");
  CHECK(run.experiment == "other");
  CHECK(run.tags == decltype(run.tags){{"kept", std::nullopt}, {"changed", "new"}, {"more", std::nullopt}});
  CHECK(run.properties.at("mine") == "y");
  CHECK(run.definition.max_run_duration == 5min);
  CHECK(run.definition.memory_bytes == 128 << 20);
  CHECK(run.definition.cpus == 0.5);
  CHECK(run.definition.pids == 9);
  CHECK(run.definition.shm_bytes == 1 << 20);
  CHECK(run.definition.grace == 1s);
  CHECK_FALSE(run.definition.network);
  REQUIRE(run.definition.mounts.size() == 2);
  CHECK(run.definition.mounts[0].source == "/usr");
  CHECK_FALSE(run.definition.mounts[0].writable);
  CHECK(run.definition.environment_variables == std::map<std::string, std::string>{{"A", "1"}, {"B", "3"}, {"C", "4"}});
  CHECK(run.queue.priority == -3);
  overrides = {};
  overrides.arguments = std::vector<std::string>{};
  CHECK(pipeline::admit_again(original_of(source), overrides, "/none").run.definition.arguments.empty());
}

TEST_CASE("another environment replaces the old one with all that belongs to it") {
  const Source source;
  auto original = original_of(source);
  original.definition.isolation = runner::Isolation::kDocker;
  original.definition.image = "base:1";
  original.definition.image_interpreter = "/opt/python";
  original.definition.engine.hostname = "h";
  api::Submission overrides;
  CHECK_FALSE(pipeline::admit_again(original, overrides, "/none").interpreter_required);
  overrides.image = "base:2";
  auto definition = pipeline::admit_again(original, overrides, "/none").run.definition;
  CHECK(definition.image == "base:2");
  CHECK(definition.image_interpreter == "/opt/python");
  CHECK(definition.engine.hostname == "h");
  overrides = {};
  overrides.python = "/usr/bin/python3";
  const auto admission = pipeline::admit_again(original, overrides, "/none");
  CHECK(admission.run.definition.isolation == runner::Isolation::kSandbox);
  CHECK(admission.run.definition.image.empty());
  CHECK(admission.run.definition.image_interpreter.empty());
  CHECK(admission.run.definition.engine.hostname.empty());
  CHECK(admission.interpreter_required);
  overrides.image = "base:2";
  CHECK(refusal_again(original, overrides).message() == "at most one of --python, --image");
  overrides = {};
  overrides.image = "base:2";
  CHECK(pipeline::admit_again(original_of(source), overrides, "/none").run.definition.isolation ==
        runner::Isolation::kDocker);
}

TEST_CASE("a repetition is refused what the original needs and is no longer there") {
  const Source source;
  auto original = original_of(source);
  original.definition.mounts[0].source = "/no/such/place";
  CHECK(refusal_again(original, {}).message() ==
        "the original's --mount /no/such/place:/data:rw: there is no /no/such/place");
  api::Submission overrides;
  overrides.mounts = {"/usr:/data"};
  CHECK(pipeline::admit_again(original, overrides, "/none").run.definition.mounts.size() == 1);

  original = original_of(source);
  original.definition.script.clear();
  original.definition.command = {"sh", "-c", "true"};
  CHECK_FALSE(pipeline::admit_again(original, {}, "/none").interpreter_required);
  overrides = {};
  overrides.arguments = {"x"};
  CHECK(refusal_again(original, overrides).message().find("has no script whose arguments") != std::string::npos);
}

TEST_CASE("a repetition's secrets come from the file, or are given again by name") {
  const Source source;
  source.write("secrets.toml", "FILED = 'from the file'\n");
  std::filesystem::permissions(source.path / "secrets.toml", std::filesystem::perms::owner_read);
  const auto file = source.path / "secrets.toml";
  auto original = original_of(source);
  original.definition.secrets = {"FILED"};
  CHECK(pipeline::admit_again(original, {}, file).secrets.at("FILED") == "from the file");
  original.definition.secrets = {"FILED", "GIVEN"};
  api::Submission overrides;
  const Error missing = refusal_again(original, overrides, file);
  CHECK(missing.code() == ErrorCode::kInvalid);
  CHECK(missing.message().find("secret GIVEN of the original") == 0);
  CHECK(missing.hint().find("--secret GIVEN") != std::string::npos);
  overrides.secrets = {"GIVEN", "NEW"};
  overrides.caller_secrets = {{"GIVEN", "again"}, {"NEW", "n"}};
  const auto admission = pipeline::admit_again(original, overrides, file);
  CHECK(admission.secrets ==
        std::map<std::string, std::string>{{"FILED", "from the file"}, {"GIVEN", "again"}, {"NEW", "n"}});
  CHECK(admission.run.definition.secrets == std::vector<std::string>{"FILED", "GIVEN", "NEW"});
  overrides.environment_variables = {{"FILED", "x"}};
  CHECK(refusal_again(original, overrides, file).message().find("--secret FILED") == 0);
}
