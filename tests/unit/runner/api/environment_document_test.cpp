#include "runner/api/environment_document.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runner/api/environment_directory.hpp"
#include "runner/core/error.hpp"

using nlohmann::json;
using runner::Error;
using runner::ErrorCode;
namespace api = runner::api;

namespace {

template <class Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  throw;
}

runner::Hash hash_of(std::uint8_t byte) {
  runner::Hash hash;
  hash.bytes.fill(byte);
  return hash;
}

}  // namespace

TEST_CASE("a name of letters, digits, underscores, dots and dashes is an environment's") {
  for (const char* name : {"a", "training", "Py3.11_gpu-2", "_x", "7", "my-AzureML", "Autosaved"})
    CHECK_NOTHROW(api::check_environment_name(name));
  CHECK_NOTHROW(api::check_environment_name(std::string(200, 'x')));
}

TEST_CASE("a name that breaks a rule is refused with that rule") {
  const auto message = [](const std::string& name) {
    const Error error = error_of([&] { api::check_environment_name(name); });
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_FALSE(error.hint().empty());
    return error.message();
  };
  CHECK(message("").find("empty") != std::string::npos);
  CHECK(message(std::string(201, 'x')).find("201 characters") != std::string::npos);
  CHECK(message("a:1").find("version") != std::string::npos);
  for (const char* name : {"a b", "a/b", "ä", "a\n", "a\\", "a@b"})
    CHECK(message(name).find("character") != std::string::npos);
  CHECK(message("-n").find("begins with '-'") != std::string::npos);
  CHECK(message("..").find("begins with '.'") != std::string::npos);
  for (const char* name : {"AzureML-x", "azureml", "AZUREMLsomething", "Microsoft", "microsoft.x"})
    CHECK(message(name).find("curated") != std::string::npos);
  CHECK(message("Autosave_x").find("given by runner") != std::string::npos);
  CHECK(message("autosave_x").find("given by runner") != std::string::npos);
}

TEST_CASE("a registration has what names an environment and who asks, and nothing of a run") {
  const auto parsed = api::parse_registration(R"({"name": "n", "conda": "c.yml", "image": "i:1", "directory": null,
    "buildArguments": {"A": "1"}, "caller": {"directory": "/p", "variables": {"PATH": "/bin"}}})");
  CHECK(parsed.name == "n");
  CHECK_FALSE(parsed.directory);
  CHECK(parsed.source.conda == "c.yml");
  CHECK(parsed.source.image == "i:1");
  CHECK(parsed.source.source_directory == "/p");
  CHECK(parsed.source.build_arguments.at("A") == "1");
  CHECK(api::parse_registration(R"({"directory": "d"})").directory == "d");
  for (const char* wrong : {R"({"script": "x"})", R"({"environment": "x"})", R"({"sourceDirectory": "/"})",
                            R"({"directory": 7})", R"({"conda": []})", "[]", "{", "7"})
    CHECK(error_of([&] { api::parse_registration(wrong); }).code() == ErrorCode::kInvalid);
}

TEST_CASE("a list tells versions as text, and of what needs no building nothing about it") {
  const std::vector<api::EnvironmentRow> rows{
      {.name = "a", .version = 12, .kind = "venv", .created = runner::UtcTime{}, .built = true, .bytes = 5},
      {.name = "AzureML-x", .version = 1, .kind = "image", .curated = true}};
  const json document = json::parse(api::environment_list_document(rows));
  CHECK(document["items"][0] == json::parse(R"({"name": "a", "version": "12", "kind": "venv", "curated": false,
    "createdTimeUtc": "1970-01-01T00:00:00.000000Z", "built": true, "bytes": 5})"));
  CHECK(document["items"][1]["createdTimeUtc"].is_null());
  CHECK(document["items"][1]["built"].is_null());
  CHECK(document["nextToken"].is_null());
}

TEST_CASE("an environment's document has the hash's input, the builds and the lock") {
  api::EnvironmentDetails details;
  details.row = {.name = {}, .version = 0, .kind = "venv", .built = true};
  details.definition = R"({"specification": {"kind": "venv"}, "variables": {}})";
  details.prepared.push_back({.digest = hash_of(1),
                              .identity = "kind: venv\n",
                              .lock_digest = hash_of(2),
                              .lock = R"({"packages": [], "pythonVersion": "3.11.2"})",
                              .builds = {{.bytes = 7, .lock = hash_of(2), .directory = "/e/prefix"}}});
  details.prepared.push_back({.digest = hash_of(3), .identity = "x"});
  const json document = json::parse(api::environment_document(details));
  CHECK(document["name"].is_null());
  CHECK(document["version"].is_null());
  CHECK(document["definition"]["specification"]["kind"] == "venv");
  CHECK(document["prepared"][0]["identity"] == "kind: venv\n");
  CHECK(document["prepared"][0]["lock"]["pythonVersion"] == "3.11.2");
  CHECK(document["prepared"][0]["builds"][0]["directory"] == "/e/prefix");
  CHECK(document["prepared"][0]["builds"][0]["image"].is_null());
  CHECK(document["prepared"][1]["lock"].is_null());
  CHECK(document["prepared"][1]["lockDigest"].is_null());
}

TEST_CASE("a conda environment's directory holds a conda file and Azure's description") {
  const auto made = api::directory_of("n", "3", R"({"specification": {"kind": "conda-image", "image": "base:1",
    "channels": ["conda-forge"], "conda": ["python=3.11"], "pip": ["x; python_version < \"3.12\""],
    "pipOptions": ["--index-url=https://h/simple"], "constraints": ["y<2"]}, "variables": {"A": "b"}})");
  CHECK(made.files.at("conda_dependencies.yml") ==
        "name: \"n\"\nchannels:\n  - \"conda-forge\"\ndependencies:\n  - \"python=3.11\"\n  - pip:\n"
        "      - \"--index-url=https://h/simple\"\n      - \"-c constraints.txt\"\n"
        "      - \"x; python_version < \\\"3.12\\\"\"\n");
  CHECK(made.files.at("constraints.txt") == "y<2\n");
  const json description = json::parse(made.files.at("azureml_environment.json"));
  CHECK(description["name"] == "n");
  CHECK(description["version"] == "3");
  CHECK(description["environmentVariables"] == json{{"A", "b"}});
  CHECK(description["python"]["condaDependenciesFile"] == "conda_dependencies.yml");
  CHECK(description["python"]["userManagedDependencies"] == false);
  CHECK(description["docker"]["enabled"] == true);
  CHECK(description["docker"]["baseImage"] == "base:1");
  CHECK(made.files.size() == 3);
}

TEST_CASE("a Python that a project requires makes its directory one with a pyproject.toml") {
  const auto made = api::directory_of("n", "1", R"({"specification": {"kind": "venv", "pip": ["a>=1"],
    "pipOptions": ["--requires-python=>=3.9"]}, "variables": {}})");
  CHECK(made.files.at("pyproject.toml") ==
        "[project]\nname = \"n\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = [\n    \"a>=1\",\n]\n");
  CHECK_FALSE(made.files.contains("requirements.txt"));
}

TEST_CASE("what an environment's files cannot say is warned of") {
  const auto dockerfile = api::directory_of("n", "1", R"({"specification": {"kind": "dockerfile",
    "dockerfile": "FROM x\n", "context": "/p", "buildArguments": {"A": "1"}}, "variables": {}})");
  CHECK(dockerfile.files.at("Dockerfile") == "FROM x\n");
  CHECK(dockerfile.warnings.size() == 2);
  const auto wheel = api::directory_of("n", "1", R"({"specification": {"kind": "venv", "pip": ["/w/a.whl"],
    "files": {"/w/a.whl": "00"}}, "variables": {}})");
  CHECK(wheel.warnings.size() == 1);
  CHECK(error_of([] { api::directory_of("n", "1", "{}"); }).code() == ErrorCode::kInternal);
}
