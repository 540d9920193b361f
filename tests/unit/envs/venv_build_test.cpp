// Real virtual environments: built, built again from their locks, and what is said when they cannot be.
#include "tests/unit/envs/venv_workshop.hpp"

namespace runner::envs {
namespace {

using namespace test;

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
  CHECK(workshop.secrets == std::vector<std::string>{"bWU6aHVudGVyMg", "hunter2"});
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

TEST_CASE("pip leaves what another manager has installed", "[pip]") { check_shared_prefix(With::kPip); }
TEST_CASE("uv leaves what another manager has installed") { check_shared_prefix(With::kUv); }

TEST_CASE("a Python that is not the wanted one is refused before anything is made", "[pip]") {
  Workshop workshop(With::kPip);
  Specification specification = no_packages();
  specification.pip_options = {"--requires-python=>=99"};
  const Error unmet = workshop.failure(specification);
  CHECK_THAT(unmet.message(), Contains("wants Python >=99") && Contains(base_python()));
  CHECK_THAT(unmet.hint(), Contains("first in PATH") && !Contains("--python"));
  const Lock lock{.python_version = "2.7.18", .image = {}, .packages = {}};
  const Error another = workshop.failure(no_packages(), lock);
  CHECK_THAT(another.message(), Contains("the lock was made with Python 2.7.18"));
  CHECK_THAT(another.hint(), Contains("first in PATH") && !Contains("--python"));
  CHECK_FALSE(fs::exists(workshop.path / "prefix1"));
}

TEST_CASE("a Python without venv names the package that has it", "[pip]") {
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

TEST_CASE("a shim of a version manager is no uv", "[pip]") {
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
  CHECK(found == std::vector<std::string>{"bWU6ZnJvbVZhcmlhYmxl", "dDBrZW46", "dTpmcm9tUGlw", "dTpmcm9tUHJveHk",
                                          "dTpmcm9tVXY", "fromPassword", "fromPip", "fromProxy", "fromUv",
                                          "fromVariable", "t0ken"});
}

TEST_CASE("pip builds, and builds again without a network", "[pip]") { check_build_and_rebuild(With::kPip); }
TEST_CASE("uv builds, and builds again without a network") { check_build_and_rebuild(With::kUv); }
TEST_CASE("pip says why requirements cannot be had", "[pip]") { check_failures(With::kPip); }
TEST_CASE("uv says why requirements cannot be had") { check_failures(With::kUv); }
TEST_CASE("pip does not take another file for a locked one", "[pip]") { check_changed_artefact(With::kPip); }
TEST_CASE("uv does not take another file for a locked one") { check_changed_artefact(With::kUv); }
TEST_CASE("pip is given credentials, and nobody sees them", "[pip]") { check_credentials(With::kPip); }
TEST_CASE("uv is given credentials, and nobody sees them") { check_credentials(With::kUv); }

}  // namespace runner::envs
