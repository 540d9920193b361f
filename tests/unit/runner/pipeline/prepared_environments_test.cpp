// Images made here: found, built and removed, against a scripted Engine.
#include "runner/pipeline/prepared_environments.hpp"

#include <stdlib.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "envs/digest.hpp"
#include "envs/specification.hpp"
#include "runner/pipeline/environment_choice.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "store/history.hpp"
#include "tests/unit/runner/http/scripted_server.hpp"

using namespace runner;
using namespace runner::pipeline;
using http::test::Answer;
using http::test::answer;
using nlohmann::json;

namespace {

std::string image_id(char digit) { return "sha256:" + std::string(64, digit); }

// Has the images that a test gives it, by id and by name.
class FakeEngine {
 public:
  // Set while nothing is asked:
  std::map<std::string, json> images;   // by reference
  bool removes = true;                  // else its images are in use
  std::function<void()> on_build;       // makes what it says image_id('e') is
  std::function<void()> before_images;  // called before it answers anything about an image

  const std::filesystem::path& socket() const { return server_.socket(); }
  std::vector<std::string> asked(const std::string& beginning) const {
    std::vector<std::string> lines;
    for (const std::string& line : server_.first_lines())
      if (line.starts_with(beginning)) lines.push_back(line);
    return lines;
  }

 private:
  Answer reply(const std::string& request) {
    const std::string line = request.substr(0, request.find(" HTTP/1.1\r\n"));
    if (line == "GET /version") return answer(200, R"({"ApiVersion":"1.41","Os":"linux","Arch":"amd64"})");
    if (line.ends_with("/info") || line.find("/volumes") != std::string::npos) return answer(200, "{}");
    if (line.find("/containers/json") != std::string::npos) return answer(200, "[]");
    if (before_images && line.find("/images/") != std::string::npos) before_images();
    if (line.starts_with("POST /v1.41/build?")) {
      on_build();
      return answer(200, json{{"aux", {{"ID", image_id('e')}}}}.dump() + "\n");
    }
    if (line.starts_with("DELETE ")) return removes ? answer(200, "[]") : answer(409, R"({"message":"in use"})");
    for (const auto& [name, image] : images)
      if (line == "GET /v1.41/images/" + name + "/json") return answer(200, image.dump());
    return answer(404, R"({"message":"no such image"})");
  }

  http::test::ScriptedServer server_{[this](const std::string& request) { return reply(request); }};
};

class Control : public BuildControl {
 public:
  bool stopped() const override { return false; }
  void progress(const std::string&) override {}
  void warn(const std::string&) override {}
  void begins_in(const std::filesystem::path& directory) override { begun.push_back(directory); }
  std::vector<std::filesystem::path> begun;
};

std::filesystem::path new_directory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "runner-prepared-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  return pattern;
}

struct Bench {
  std::filesystem::path root = new_directory();
  os::DataDirectory data{root};
  store::History history{root / "runner.db"};
  store::Environments rows{history};
  envs::InterpreterProbe probe{root / "cache"};
  exec::EngineContainers containers{
      exec::BundleHost{.data = data, .init = {}, .python_package = {}, .machine = "x86_64"}, {}, {}};
  PreparedEnvironments prepared{data, rows, probe, containers, {.build = std::chrono::minutes(1), .conda_client = ""}};

  ~Bench() { std::filesystem::remove_all(root); }

  Hash add_dockerfile(const std::string& text) {
    const envs::Specification wanted{.kind = envs::SpecificationKind::kDockerfile, .dockerfile = text};
    const auto row = environment_row(wanted, {.platform = "linux-x86_64", .base = "sha256:base"});
    rows.add(row);
    return row.digest;
  }
  // Of a Dockerfile whose base "base:1" has the id.
  BuildJob job_on(const std::string& base_id, const FakeEngine& engine) {
    const envs::Specification wanted{.kind = envs::SpecificationKind::kDockerfile, .dockerfile = "FROM base:1\n"};
    envs::BuildBase base = envs::this_platform();
    base.base = base_id;
    const auto row = environment_row(wanted, base);
    rows.add(row);
    return {.lane = BuildLane::kEngine, .environment = row.digest, .engine = engine.socket()};
  }
  std::string name_of(const Hash& environment) {
    return image_name_of(envs::specification_from_json(rows.find(environment)->specification));
  }
  store::EnvironmentBuild publish(const Hash& environment, const std::string& image, const FakeEngine& engine) {
    store::EnvironmentBuild build{.environment = environment,
                                  .lock = envs::digest_of(image),
                                  .image = image,
                                  .engine = engine.socket(),
                                  .bytes = 1000,
                                  .created = utc_now(),
                                  .used = utc_now()};
    build.id = rows.publish(build, "{}");
    return build;
  }
};

}  // namespace

TEST_CASE("an image is looked for in the Engine of the run, and nowhere else") {
  FakeEngine here;
  FakeEngine elsewhere;
  here.images[image_id('a')] = {{"Id", image_id('a')}};
  elsewhere.images[image_id('b')] = {{"Id", image_id('b')}};
  Bench bench;
  const Hash environment = bench.add_dockerfile("FROM x\n");
  bench.publish(environment, image_id('a'), here);
  bench.publish(environment, image_id('b'), elsewhere);  // the newest
  const auto found = bench.prepared.find({.environment = environment, .engine = here.socket()});
  REQUIRE(found);
  CHECK(found->image == image_id('a'));
  CHECK(elsewhere.asked("GET").empty());
  CHECK_FALSE(bench.prepared.find({.environment = environment, .engine = "/of/a/third.sock"}));
  CHECK(bench.rows.builds(environment).size() == 2);
}

TEST_CASE("an image that two environments share loses the name of each, and goes with the last") {
  FakeEngine engine;
  Bench bench;
  const Hash one = bench.add_dockerfile("FROM x\n");
  const Hash other = bench.add_dockerfile("FROM x\n# the same\n");
  const auto first = bench.publish(one, image_id('a'), engine);
  const auto second = bench.publish(other, image_id('a'), engine);
  json& image = engine.images[image_id('a')];
  image = {{"Id", image_id('a')}, {"RepoTags", {bench.name_of(one), bench.name_of(other)}}};
  CHECK(bench.prepared.remove(first) == 0);
  image["RepoTags"] = {bench.name_of(other)};
  CHECK(bench.prepared.remove(second) == 1000);
  CHECK(engine.asked("DELETE") == std::vector<std::string>{"DELETE /v1.41/images/" + bench.name_of(one),
                                                           "DELETE /v1.41/images/" + bench.name_of(other)});
  CHECK(bench.rows.builds().empty());
}

TEST_CASE("an image that lost its name to a newer one goes by its id, unless somebody else has named it") {
  FakeEngine engine;
  Bench bench;
  const Hash environment = bench.add_dockerfile("FROM x\n");
  const auto old = bench.publish(environment, image_id('a'), engine);
  const auto kept = bench.publish(environment, image_id('b'), engine);
  engine.images[image_id('a')] = {{"Id", image_id('a')}, {"RepoTags", json::array()}};
  engine.images[image_id('b')] = {{"Id", image_id('b')}, {"RepoTags", {"mine:1"}}};
  CHECK(bench.prepared.remove(old) == 1000);
  CHECK(bench.prepared.remove(kept) == 0);
  CHECK(engine.asked("DELETE") == std::vector<std::string>{"DELETE /v1.41/images/" + image_id('a')});
  CHECK(bench.rows.builds().empty());
}

TEST_CASE("an image that a container uses stays, and that is said") {
  FakeEngine engine;
  engine.removes = false;
  Bench bench;
  const Hash environment = bench.add_dockerfile("FROM x\n");
  const auto build = bench.publish(environment, image_id('a'), engine);
  engine.images[image_id('a')] = {{"Id", image_id('a')}, {"RepoTags", {bench.name_of(environment)}}};
  CHECK_THROWS_WITH(bench.prepared.remove(build), Catch::Contains("uses it"));
  CHECK(bench.rows.builds().size() == 1);
}

TEST_CASE("an Engine that does not answer holds nobody else up") {
  FakeEngine engine;
  Bench bench;
  const auto image = bench.publish(bench.add_dockerfile("FROM x\n"), image_id('a'), engine);
  store::EnvironmentBuild here{.environment = bench.add_dockerfile("FROM y\n"),
                               .lock = envs::digest_of("here"),
                               .directory = "here-1",
                               .created = utc_now(),
                               .used = utc_now()};
  std::filesystem::create_directories(bench.data.environments() / "here-1" / "prefix");
  bench.rows.publish(here, "{}");
  std::promise<void> asked;
  std::promise<void> answers;
  engine.before_images = [&, once = std::make_shared<std::once_flag>(), go = answers.get_future().share()] {
    std::call_once(*once, [&] { asked.set_value(); });
    go.wait();
  };
  std::atomic<bool> removed = false;
  {
    const std::jthread gc([&] {
      bench.prepared.remove(image);
      removed = true;
    });
    asked.get_future().wait();
    CHECK(bench.prepared.acquire({.environment = here.environment}, "run"));
    CHECK_FALSE(removed);
    answers.set_value();
  }
  CHECK(removed);
}

TEST_CASE("what another build has made meanwhile is not made again, unless it is to be anew") {
  FakeEngine engine;
  Bench bench;
  Control control;
  engine.images["base:1"] = {{"Id", image_id('b')}};
  engine.on_build = [&] { engine.images[image_id('e')] = {{"Id", image_id('e')}, {"Size", 77}}; };
  BuildJob job = bench.job_on(image_id('b'), engine);
  const auto first = bench.prepared.build(job, control);
  CHECK(first.image == image_id('e'));
  CHECK(first.bytes == 77);
  CHECK(bench.prepared.build(job, control).id == first.id);
  CHECK(control.begun.size() == 1);
  job.fresh = true;
  CHECK(bench.prepared.build(job, control).id != first.id);
  CHECK(control.begun.size() == 2);
}

TEST_CASE("an image whose base is not the one that was asked for is not published") {
  FakeEngine engine;
  Bench bench;
  Control control;
  const BuildJob job = bench.job_on(image_id('b'), engine);
  engine.on_build = [&] { engine.images[image_id('e')] = {{"Id", image_id('e')}}; };
  SECTION("moved before the build") {
    engine.images["base:1"] = {{"Id", image_id('c')}};
    CHECK_THROWS_WITH(bench.prepared.build(job, control),
                      Catch::Equals("the base image base:1 changed after the run was submitted"));
    CHECK(engine.asked("POST").empty());
  }
  SECTION("moved during the build") {
    engine.images["base:1"] = {{"Id", image_id('b')}};
    engine.on_build = [&, make = engine.on_build] {
      make();
      engine.images["base:1"] = {{"Id", image_id('c')}};
    };
    CHECK_THROWS_WITH(bench.prepared.build(job, control), Catch::Contains("base:1 changed"));
    CHECK(engine.asked("DELETE").size() == 1);  // its name
  }
  SECTION("pulled by the build") {
    engine.on_build = [&, make = engine.on_build] {
      make();
      engine.images["base:1"] = {{"Id", image_id('c')}};
    };
    CHECK_THROWS_WITH(bench.prepared.build(job, control), Catch::Contains("base:1 changed"));
  }
  CHECK(bench.rows.builds().empty());
}

TEST_CASE("an Engine that names an image it does not have has built nothing") {
  FakeEngine engine;
  Bench bench;
  Control control;
  engine.images["base:1"] = {{"Id", image_id('b')}};
  engine.on_build = [] {};
  CHECK_THROWS_WITH(bench.prepared.build(bench.job_on(image_id('b'), engine), control),
                    Catch::Contains("does not have it"));
  CHECK(bench.rows.builds().empty());
}
