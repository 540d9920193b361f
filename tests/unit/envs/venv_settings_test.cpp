// What the caller's settings of pip and uv may change in an environment, and what of a requirement's URL stays in it.
#include "envs/site_packages.hpp"
#include "tests/unit/envs/venv_workshop.hpp"

namespace runner::envs {
namespace {

using namespace test;

fs::path prefix_of(const BuildResult& built) { return fs::path(built.interpreter).parent_path().parent_path(); }

bool holds(const fs::path& tree, const std::string& text) {
  for (const auto& entry : fs::recursive_directory_iterator(tree))
    if (entry.is_regular_file() && os::read_file(entry.path()).find(text) != std::string::npos) return true;
  return false;
}

// A pip.conf in the caller's home.
void write_pip_conf(const Workshop& workshop, const std::string& lines) {
  const fs::path directory = workshop.path / "home" / ".config" / "pip";
  fs::create_directories(directory);
  std::ofstream(directory / "pip.conf") << lines;
}

// The token stands in the query, as cloud storage has it, and in the place of the user.
void check_query(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-beta", "2.0");
  auto server = std::make_unique<Server>(workshop);
  const std::string place = "127.0.0.1:" + server->port() + "/files/tiny_beta-2.0-py3-none-any.whl";
  const auto read = workshop.read("tiny-beta @ http://me:hunter2@" + place + "?sv=1&sig=SASTOKEN\n");
  CHECK(read.specification.pip == std::vector<std::string>{"tiny-beta @ http://" + place});
  workshop.settings.credentials = read.credentials;
  workshop.secrets = pip_secrets(read.specification, workshop.settings);
  const BuildResult built = workshop.build(read.specification);
  CHECK(built.lock.packages.at(0).url == "http://" + place);
  for (const char* secret : {"SASTOKEN", "hunter2"}) {
    CHECK_FALSE(holds(prefix_of(built), secret));
    CHECK_THAT(workshop.log() + to_json(built.lock), !Contains(secret));
  }
  const fs::path info = installed_distributions(prefix_of(built)).at("tiny-beta").directory;
  CHECK_THAT(os::read_file(info / "direct_url.json"), Contains(place));
  CHECK_THAT(os::read_file(info / "RECORD"), Contains("tiny_beta-2.0.dist-info/direct_url.json,,\n"));

  // From the lock the token is needed again.
  workshop.forget_caches();
  CHECK(workshop.build(read.specification, built.lock).lock == built.lock);
  workshop.forget_caches();
  workshop.stock(read.specification, built);
  server.reset();
  CHECK(workshop.build(read.specification, built.lock).lock == built.lock);
  CHECK_THAT(workshop.log(), !Contains("SASTOKEN"));
}

// What the file leaves to variables is the same URL in the lock, and what the file says of its hash is no part of it.
void check_variables(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  const std::string hash = digest_of_file(workshop.wheel("tiny-beta", "2.0")).hex();
  const Server server(workshop);
  const std::string place = "127.0.0.1:" + server.port() + "/files/tiny_beta-2.0-py3-none-any.whl";
  workshop.settings.variables["PASSWORD"] = "hunter2";
  workshop.settings.variables["SAS"] = "SASTOKEN";
  const auto specification =
      workshop.read("tiny-beta @ http://me:${PASSWORD}@" + place + "?sig=${SAS}#sha256=" + hash + "\n").specification;
  workshop.secrets = pip_secrets(specification, workshop.settings);
  const BuildResult built = workshop.build(specification);
  CHECK(built.lock.packages.at(0).url.starts_with("http://" + place));
  CHECK_FALSE(holds(prefix_of(built), "SASTOKEN"));
  workshop.forget_caches();
  CHECK(workshop.build(specification, built.lock).lock == built.lock);
  CHECK_THAT(workshop.log() + to_json(built.lock), !Contains("SASTOKEN") && !Contains("hunter2"));
}

void check_elsewhere(With with, const std::string& variable, const std::string& settings) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-beta", "2.0");
  std::ofstream(workshop.path / "settings")
      << settings << "target = " << (with == With::kUv ? "\"" : "") << (workshop.path / "elsewhere").string()
      << (with == With::kUv ? "\"" : "") << "\n";
  workshop.settings.variables[variable] = workshop.path / "settings";
  const Error error = workshop.failure(workshop.read(workshop.offline("tiny-beta")).specification);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK_THAT(error.message(), Contains("tiny-beta: ") && Contains("somewhere else"));
  CHECK_THAT(error.hint(), Contains(variable));
}

void check_solution_settings(With with, const std::string& constraint, const std::string& other) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.wheel("tiny-beta", "1.5");
  workshop.wheel("tiny-beta", "2.0");
  std::ofstream(workshop.path / "limits.txt") << "tiny-beta<2\n";
  workshop.settings.variables[constraint] = workshop.path / "limits.txt";
  workshop.settings.variables[other] = "lowest";
  workshop.settings.variables[with == With::kUv ? "UV_NO_BUILD" : "PIP_PRE"] = "0";
  const auto specification = workshop.read(workshop.offline("tiny-beta")).specification;
  const BuildResult built = workshop.build(specification);
  CHECK(version_in(built, "tiny_beta") == "2.0");
  REQUIRE(built.warnings.size() == 2);
  CHECK(built.warnings[0] == constraint + " is set and was not used: put `-c FILE` into the requirements file");
  CHECK(built.warnings[1] == other + " is set and was not used: an environment is what its file says");
  CHECK(workshop.build(specification, built.lock).warnings.empty());
}

// Nothing listens on port 9.
void check_no_network(With with) {
  if (!available(with)) return;
  Workshop workshop(with);
  workshop.settings.variables["PIP_RETRIES"] = "1";
  const BuildResult empty = workshop.build(no_packages());
  const Error error = workshop.install_failure(
      empty, workshop.read("--index-url http://127.0.0.1:9/simple\ntiny-beta>=1").specification);
  CHECK(error.code() == ErrorCode::kUnavailable);
  CHECK_THAT(error.message(), Catch::StartsWith("no network: tiny-beta") && Contains(" is not in the caches\n"));
}

}  // namespace

TEST_CASE("pip leaves nothing of a token in a URL's query behind", "[pip]") { check_query(With::kPip); }
TEST_CASE("uv leaves nothing of a token in a URL's query behind") { check_query(With::kUv); }

TEST_CASE("pip finds what was asked for with variables again, from its lock", "[pip]") { check_variables(With::kPip); }
TEST_CASE("uv finds what was asked for with variables again, from its lock") { check_variables(With::kUv); }

TEST_CASE("a pip.conf that sends packages elsewhere does not count", "[pip]") {
  for (const char* lines :
       {"[install]\nuser = true\n", "[install]\ntarget = /nowhere/x\n", "[global]\nroot = /nowhere/x\n",
        "[install]\nprefix = /nowhere/x\n[global]\ndry-run = true\n"}) {
    Workshop workshop(With::kPip);
    workshop.wheel("tiny-beta", "2.0");
    write_pip_conf(workshop, lines);
    INFO(lines);
    const BuildResult built = workshop.build(workshop.read(workshop.offline("tiny-beta")).specification);
    CHECK(version_in(built, "tiny_beta") == "2.0");
    CHECK_FALSE(fs::exists(prefix_of(built) / "pip.conf"));
  }
}

TEST_CASE("an environment whose packages pip has put elsewhere is none", "[pip]") {
  check_elsewhere(With::kPip, "PIP_CONFIG_FILE", "[install]\n");
}
TEST_CASE("an environment whose packages uv has put elsewhere is none") {
  check_elsewhere(With::kUv, "UV_CONFIG_FILE", "[pip]\n");
}

TEST_CASE("what would change the solution behind the file's back is not given to pip, and that is said", "[pip]") {
  check_solution_settings(With::kPip, "PIP_CONSTRAINT", "PIP_UPGRADE_STRATEGY");
}
TEST_CASE("what would change the solution behind the file's back is not given to uv, and that is said") {
  check_solution_settings(With::kUv, "UV_CONSTRAINT", "UV_RESOLUTION");
}

TEST_CASE("without a network pip's failure says so", "[pip]") { check_no_network(With::kPip); }
TEST_CASE("without a network uv's failure says so") { check_no_network(With::kUv); }

TEST_CASE("without a network uv takes what is in its cache") {
  if (!available(With::kUv)) return;
  Workshop workshop(With::kUv);
  workshop.wheel("tiny-beta", "2.0");
  auto server = std::make_unique<Server>(workshop, "max-age=0");
  const auto read = workshop.read("--index-url http://me:hunter2@127.0.0.1:" + server->port() + "/simple\ntiny-beta\n");
  workshop.settings.credentials = read.credentials;
  const BuildResult built = workshop.build(read.specification);
  server.reset();
  CHECK(to_json(workshop.build(read.specification).lock) == to_json(built.lock));
  CHECK_THAT(workshop.log(), Contains("no network: trying"));
}

TEST_CASE("what setup.py has installed counts as installed", "[pip]") {
  Workshop workshop(With::kPip);
  const fs::path site = workshop.path / "lib" / "python3.8" / "site-packages";
  fs::create_directories(site / "Old_Thing-1.2-py3.8.egg-info");
  fs::create_directories(site / "other-3.egg-info");
  fs::create_directories(site / "new-1.0.dist-info");
  const auto found = installed_distributions(workshop.path);
  REQUIRE(found.size() == 3);
  CHECK(found.at("old-thing").version == "1.2");
  CHECK(found.at("other").version == "3");
  CHECK(found.at("new").version == "1.0");
}

}  // namespace runner::envs
