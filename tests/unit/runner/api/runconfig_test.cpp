#include "runner/api/runconfig.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using Catch::EndsWith;
using Texts = std::vector<std::string>;

Runconfig parse(const std::string& text) { return parse_runconfig(text, "x.runconfig", "/src"); }

Error failure(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    return error;
  }
  FAIL("accepted: " << text);
  throw;
}

struct Source {
  fs::path path;
  Source() {
    std::string pattern = (fs::temp_directory_path() / "runconfig-test-XXXXXX").string();
    path = fs::canonical(::mkdtemp(pattern.data()));
  }
  ~Source() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((path / file).parent_path());
    std::ofstream(path / file) << text;
  }
};

// As Azure's tools write it, every default spelt out.
constexpr const char* kGenerated = R"(# The script to run.
script: train.py
# The arguments to the script file.
arguments: []
# The name of the compute target to use for this run.
target: local
# Framework to execute inside. Allowed values are "Python" ,  "PySpark", "CNTK",  "TensorFlow", and "PyTorch".
framework: Python
communicator: None
maxRunDurationSeconds:
nodeCount: 1
environment:
  name: project_environment
  version:
  python:
    userManagedDependencies: true
    interpreterPath: python
    condaDependenciesFile: .azureml/conda_dependencies.yml
    baseCondaEnvironment:
  environmentVariables:
    EXAMPLE_ENV_VAR: EXAMPLE_VALUE
  docker:
    enabled: false
    baseImage: registry.example/azureml/base:intelmpi
    baseDockerfile:
    sharedVolumes: true
    shmSize: 2g
    arguments: []
    baseImageRegistry:
      address:
      username:
      password:
  spark:
    repositories: []
    packages: []
    precachePackages: true
  databricks:
    mavenLibraries: []
    pypiLibraries: []
    rcranLibraries: []
  r:
  inferencingStackVersion:
history:
  outputCollection: true
  snapshotProject: true
  directoriesToWatch:
  - logs
spark:
  configuration:
    spark.app.name: Azure ML Experiment
    spark.yarn.maxAppAttempts: '1'
hdi:
  yarnDeployMode: cluster
tensorflow:
  workerCount: 1
  parameterServerCount: 1
mpi:
  processCountPerNode: 1
pytorch:
  communicationBackend: nccl
  processCount:
dataReferences: {}
data: {}
sourceDirectoryDataStore:
amlcompute:
  vmSize:
  vmPriority:
  retainCluster: false
  name:
  clusterMaxNodeCount: 1
)";

}  // namespace

TEST_CASE("an empty runconfig is all defaults") {
  for (const char* text : {"", "# nothing\n", "{}", "---\n", "script:\narguments:\ncommand: ''\nenvironment:\n"}) {
    const Runconfig config = parse(text);
    CHECK_FALSE(config.script);
    CHECK_FALSE(config.arguments);
    CHECK_FALSE(config.command);
    CHECK_FALSE(config.max_run_duration);
    CHECK_FALSE(config.interpreter_path);
    CHECK(config.environment_variables.empty());
    CHECK(config.warnings.empty());
  }
}

TEST_CASE("the keys a run needs are read") {
  const Runconfig config = parse(R"(
script: train.py
arguments: [--lr, 0.10, 1e-3, 7, true, "two words", ""]
maxRunDurationSeconds: 90
environment:
  python: {userManagedDependencies: true, interpreterPath: /usr/bin/python3}
)");
  CHECK(config.script == "train.py");
  CHECK(config.arguments == Texts{"--lr", "0.10", "1e-3", "7", "true", "two words", ""});
  CHECK(config.max_run_duration == std::chrono::seconds(90));
  CHECK(config.interpreter_path == "/usr/bin/python3");
  CHECK(config.warnings.empty());
}

TEST_CASE("JSON is YAML") {
  const Runconfig config =
      parse("{\"script\": \"train.py\",\n \"arguments\": [\"-n\", 3],\n \"maxRunDurationSeconds\": 1.5}");
  CHECK(config.arguments == Texts{"-n", "3"});
  CHECK(config.max_run_duration == std::chrono::milliseconds(1500));
}

TEST_CASE("a generated file with every default spelt out is accepted without a word") {
  const Runconfig config = parse(kGenerated);
  CHECK(config.script == "train.py");
  CHECK(config.arguments == Texts{});
  CHECK_FALSE(config.interpreter_path);
  CHECK(config.environment_variables == std::map<std::string, std::string>{{"EXAMPLE_ENV_VAR", "EXAMPLE_VALUE"}});
  CHECK(config.warnings.empty());
}

TEST_CASE("variables: both spellings, numbers as written, the run's win over the environment's") {
  const Runconfig config = parse(R"(
environment_variables: {A: run, N: 007, EMPTY: }
environment:
  environmentVariables: {A: environment, B: environment}
)");
  CHECK(config.environment_variables ==
        std::map<std::string, std::string>{{"A", "run"}, {"N", "007"}, {"EMPTY", ""}, {"B", "environment"}});
  CHECK(parse("environmentVariables: {A: b}").environment_variables.at("A") == "b");
  CHECK_THAT(failure("environment_variables: [A]").message(),
             Contains("'environment_variables' must be names and values"));
  CHECK_THAT(failure("environment_variables:\n  A: [1]").message(),
             Contains("x.runconfig:2: 'environment_variables.A'"));
}

TEST_CASE("a command is a shell line or an exact argument vector, and excludes a script") {
  CHECK(parse("command: echo $HOME").command == Texts{"sh", "-c", "echo $HOME"});
  CHECK(parse("command: [echo hi]").command == Texts{"sh", "-c", "echo hi"});
  CHECK(parse("command: [python, -c, 1]").command == Texts{"python", "-c", "1"});
  CHECK_THAT(failure("script: a.py\ncommand: ls").message(), Contains("both 'script' and 'command'"));
}

TEST_CASE("the interpreter: the default is none, a relative path belongs to the source directory") {
  const auto of = [](const std::string& path) {
    return parse("environment: {python: {interpreterPath: " + path + "}}").interpreter_path;
  };
  CHECK_FALSE(of("python"));
  CHECK(of("python3.11") == "python3.11");
  CHECK(of("venv/bin/python") == "/src/venv/bin/python");
  CHECK(of("/opt/p/bin/python") == "/opt/p/bin/python");
}

TEST_CASE("Docker in both generations of the file names the image, its interpreter and its settings") {
  for (const char* text :
       {"docker: {useDocker: true, shmSize: 1g, arguments: [--cpus, 2, -e, A=1], sharedVolumes: false}\n"
        "environment:\n  docker: {enabled: false, baseImage: 'python:3.11'}\n"
        "  python: {userManagedDependencies: true, interpreterPath: opt/bin/python}\n",
        "environment:\n  python: {interpreterPath: opt/bin/python}\n"
        "  docker:\n    arguments: [--cpus, 2, -e, A=1]\n    shmSize: 1g\n    baseImage: python:3.11\n"
        "    baseDockerfile:\n    gpuSupport: false\n    baseImagePlatform: linux/amd64\n"
        "    platform: {os: Linux, architecture: amd64}\n    enabled: true\n"}) {
    INFO(text);
    const Runconfig config = parse(text);
    REQUIRE(config.docker);
    CHECK(config.docker->image == "python:3.11");
    CHECK(config.docker->interpreter == "opt/bin/python");  // inside the image: nothing of the source directory
    CHECK_FALSE(config.interpreter_path);
    CHECK(config.docker->arguments.shm_bytes == 1LL << 30);
    CHECK(config.docker->arguments.cpus == 2);
    CHECK(config.docker->arguments.environment_variables.at("A") == "1");
    CHECK(config.warnings.empty());
  }
}

TEST_CASE("with Docker the interpreter python means that one is to be chosen, and its arguments win over shmSize") {
  const Runconfig config = parse(
      "docker: {useDocker: true, shmSize: 1g, arguments: [--shm-size=3g]}\n"
      "environment: {docker: {baseImage: x}, python: {interpreterPath: python}}");
  CHECK(config.docker.value().interpreter.empty());
  CHECK(config.docker.value().arguments.shm_bytes == 3LL << 30);
}

TEST_CASE("Docker without an image says where it was switched on, for whoever needs the image") {
  const Runconfig config = parse("\ndocker: {useDocker: true}");
  CHECK(config.docker.value().image.empty());
  CHECK(config.docker.value().switch_at == "x.runconfig:2: 'docker.useDocker: true'");
}

TEST_CASE("Docker that is switched off has no effect, whatever stands beside the switch") {
  const Runconfig config = parse(
      "environment:\n  python: {interpreterPath: venv/bin/python}\n"
      "  docker: {enabled: false, baseImage: Not An Image, baseDockerfile: FROM x, gpuSupport: true,\n"
      "           arguments: [--privileged], shmSize: huge, baseImageRegistry: {password: p}}\n");
  CHECK_FALSE(config.docker);
  CHECK(config.interpreter_path == "/src/venv/bin/python");
}

TEST_CASE("a registry's address stands before the image, its credentials belong to docker login") {
  const auto image = [](const std::string& registry, const std::string& base) {
    return parse("environment: {docker: {enabled: true, baseImage: '" + base + "', baseImageRegistry: " + registry +
                 "}}")
        .docker.value()
        .image;
  };
  CHECK(image("{address: reg.example:5000, username: , password: }", "a/b:1") == "reg.example:5000/a/b:1");
  CHECK(image("{address: reg.example/}", "reg.example/a") == "reg.example/a");
  CHECK(image("{address: }", "a") == "a");
  for (const char* key : {"username", "password"}) {
    const Error error =
        failure("environment:\n  docker:\n    enabled: true\n    baseImage: a\n    baseImageRegistry:\n      " +
                std::string(key) + ": hunter2");
    CHECK_THAT(error.message(),
               Contains("x.runconfig:6: 'environment.docker.baseImageRegistry." + std::string(key) + "'"));
    CHECK(error.message().find("hunter2") == std::string::npos);
    CHECK_THAT(error.hint(), Contains("docker login"));
  }
}

TEST_CASE("a wrong image or argument is named with its line") {
  CHECK_THAT(failure("docker: {useDocker: true}\nenvironment: {docker: {baseImage: Ubuntu}}").message(),
             Contains("x.runconfig:2: environment.docker.baseImage Ubuntu: the repository must be lowercase"));
  CHECK_THAT(failure("docker:\n  useDocker: true\n  arguments: [--privileged]").message(),
             Contains("x.runconfig:3: docker.arguments: --privileged is refused"));
  CHECK_THAT(failure("docker:\n  useDocker: true\n  arguments: --rm").message(), Contains("must be a list"));
  CHECK_THAT(failure("docker:\n  useDocker: true\n  shmSize: huge").message(),
             Contains("x.runconfig:3: docker.shmSize: 'huge' is not a size"));
}

TEST_CASE("an unknown key is a warning with file, line and key") {
  const Runconfig config = parse("script: a.py\nfoo: 1\nenvironment:\n  python:\n    bar: 2\n");
  CHECK(config.warnings ==
        Texts{"x.runconfig:2: unknown key 'foo'", "x.runconfig:5: unknown key 'environment.python.bar'"});
  CHECK(parse("max_run_duration_seconds: 3").warnings ==
        Texts{"x.runconfig:1: unknown key 'max_run_duration_seconds' (did you mean 'maxRunDurationSeconds'?)"});
}

TEST_CASE("history that cannot be switched off is a warning") {
  CHECK(parse("history: {outputCollection: false}").warnings ==
        Texts{"x.runconfig:1: 'history.outputCollection: false' has no effect: outputs are always collected"});
}

TEST_CASE("what cannot be honoured is an error with file, line, key and what is supported") {
  const auto [text, key] = GENERATE(table<const char*, const char*>({
      {"\ntarget: cpu-cluster", "x.runconfig:2: 'target: cpu-cluster'"},
      {"\nframework: PySpark", "x.runconfig:2: 'framework: PySpark'"},
      {"\ncommunicator: OpenMpi", "x.runconfig:2: 'communicator: OpenMpi'"},
      {"\nnodeCount: 2", "x.runconfig:2: 'nodeCount: 2'"},
      {"\nmpi:\n  processCountPerNode: 4", "x.runconfig:3: 'mpi.processCountPerNode: 4'"},
      {"\npyTorch: {processCount: 2}", "x.runconfig:2: 'pyTorch.processCount: 2'"},
      {"\ntensorflow: {workerCount: 2}", "x.runconfig:2: 'tensorflow.workerCount: 2'"},
      {"\ndataReferences:\n  d: {dataStoreName: x}", "x.runconfig:2: 'dataReferences'"},
      {"\ndata: {d: {}, e: {dataLocation: {}, x: 1}}", "x.runconfig:2: 'data'"},
      {"\ndocker: {useDocker: true, gpuSupport: true}", "x.runconfig:2: 'docker.gpuSupport: true'"},
      {"\ndocker: {useDocker: true, baseImagePlatform: linux/arm64}",
       "x.runconfig:2: 'docker.baseImagePlatform: linux/arm64'"},
      {"\ndocker: {useDocker: true, platform: {os: Windows}}", "x.runconfig:2: 'docker.platform.os: Windows'"},
      {"\nenvironment: {databricks: {pypiLibraries: [x]}}", "'environment.databricks'"},
  }));
  const Error error = failure(text);
  CHECK_THAT(error.message(), Contains(key) && Contains("cannot be honoured here"));
  CHECK_FALSE(error.hint().empty());
}

TEST_CASE("a conda environment is a file of the source directory, or what stands in the runconfig") {
  const Runconfig file = parse("environment:\n  python: {condaDependenciesFile: c.yml}");
  REQUIRE(file.conda);
  CHECK(file.conda->file.filename() == "c.yml");
  CHECK(file.conda->file.is_absolute());
  CHECK(file.conda->at == "x.runconfig:2: 'environment.python.condaDependenciesFile'");
  const Runconfig inline_one =
      parse("environment: {python: {condaDependenciesFile: c.yml, condaDependencies: {dependencies: [numpy]}}}");
  REQUIRE(inline_one.conda);
  CHECK(inline_one.conda->file.empty());
  CHECK_THAT(inline_one.conda->text, Contains("numpy"));
  CHECK_FALSE(
      parse("environment: {python: {condaDependencies: {dependencies: [numpy]}, userManagedDependencies: true}}")
          .conda);
}

TEST_CASE("a base Dockerfile is a path in the source directory or a text, and excludes an image") {
  CHECK_THAT(
      parse("environment: {docker: {enabled: true, baseDockerfile: docker/Dockerfile}}").docker.value().dockerfile,
      EndsWith("/docker/Dockerfile"));
  CHECK(parse("environment: {docker: {enabled: true, baseDockerfile: FROM x}}").docker.value().dockerfile ==
        "FROM x\n");
  CHECK_THAT(failure("environment: {docker: {enabled: true, baseImage: y, baseDockerfile: FROM x}}").message(),
             Contains("baseImage is given, too"));
}

TEST_CASE("a registered environment counts when nothing else says what the environment is") {
  const Runconfig named = parse("environment: {name: AzureML-Minimal, version: 2}");
  CHECK(named.environment_name == "AzureML-Minimal");
  CHECK(named.environment_version == "2");
  CHECK(parse("environment: {name: e, python: {interpreterPath: /x/python}}").environment_name.empty());
}

TEST_CASE("conda dependencies do not count when the user manages them, wherever that is said") {
  CHECK_NOTHROW(parse("environment: {python: {condaDependenciesFile: c.yml, userManagedDependencies: true}}"));
  CHECK_NOTHROW(parse("environment: {python: {userManagedDependencies: false, condaDependencies: {}}}"));
}

TEST_CASE("a wrong type is an error with line and key") {
  CHECK_THAT(failure("script: [a]").message(), Contains("x.runconfig:1: 'script' must be text"));
  CHECK_THAT(failure("arguments: --x").message(), Contains("'arguments' must be a list"));
  CHECK_THAT(failure("arguments:\n- a\n- {b: c}").message(), Contains("x.runconfig:3: 'arguments[1]'"));
  CHECK_THAT(failure("arguments: [~]").message(), Contains("'arguments[0]'"));
  CHECK_THAT(failure("environment: 3").message(), Contains("'environment' must be keys and values"));
  CHECK_THAT(failure("environment: {docker: {enabled: maybe}}").message(), Contains("must be true or false"));
  CHECK_THAT(failure("- a").message(), Contains("x.runconfig:1: must hold keys and values"));
  CHECK_THAT(failure("script: a\nscript: b").message(), Contains("x.runconfig:2: 'script' is given twice"));
  for (const char* value : {"-1", "0", "soon", "[1]", ".inf", ".nan", "1e12"})
    CHECK_THAT(failure(std::string("maxRunDurationSeconds: ") + value).message(),
               Contains("number of seconds above 0"));
}

TEST_CASE("malformed YAML is an error with line and column") {
  CHECK_THAT(failure("script: a.py\narguments: [1, 2\n").message(), Contains("not YAML") && Contains("x.runconfig:3:"));
  CHECK_THAT(failure("a: b: c").message(), Contains("x.runconfig:1:5: not YAML"));
  CHECK_THAT(failure("x: *nobody").message(), Contains("not YAML"));
  CHECK_THAT(failure(std::string(100'000, '[')).message(), Contains("not YAML"));
}

TEST_CASE("an alias that contains itself ends") {
  CHECK_THAT(failure("data: &a {x: *a}").message(), Contains("x.runconfig:1:"));
}

TEST_CASE("a runconfig is looked for in .runner, then .azureml, then as a path") {
  const Source source;
  source.write("plain.yml", "script: path.py");
  CHECK(load_runconfig(source.path, "plain.yml").script == "path.py");
  CHECK(load_runconfig("/", (source.path / "plain.yml").string()).script == "path.py");

  source.write(".azureml/job", "script: azureml-bare.py");
  CHECK(load_runconfig(source.path, "job").script == "azureml-bare.py");
  source.write(".azureml/job.runconfig", "script: azureml.py");
  CHECK(load_runconfig(source.path, "job").script == "azureml.py");
  source.write(".runner/job.runconfig", "script: runner.py");
  CHECK(load_runconfig(source.path, "job").script == "runner.py");
  CHECK(load_runconfig(source.path, "job.runconfig").file == source.path / ".runner/job.runconfig");

  try {
    load_runconfig(source.path, "other");
    FAIL("found");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("--config other: no such runconfig"));
    CHECK(error.hint() == "there are: job");
  }
}

TEST_CASE("a file in messages is named as the user knows it") {
  const Source source;
  source.write(".runner/job.runconfig", "foo: 1");
  CHECK(load_runconfig(source.path, "job").warnings == Texts{".runner/job.runconfig:1: unknown key 'foo'"});
  source.write("large", std::string((1 << 20) + 1, '#'));
  CHECK_THROWS_WITH(load_runconfig(source.path, "large"), Contains("larger than 1 MiB"));
}

}  // namespace runner::api
