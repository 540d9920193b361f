#include "store/record_json.hpp"

#include <catch2/catch.hpp>

#include "runner/core/error.hpp"

using namespace runner::store;

TEST_CASE("rows written before there were images still read, with nothing where the image would be") {
  const auto definition = definition_from_json(
      R"({"script":"a.py","arguments":[],"sourceDirectory":"/s","isolation":"sandbox","graceMs":10000,"network":true})");
  CHECK(definition.script == "a.py");
  CHECK(definition.image.empty());
  CHECK(definition.image_interpreter.empty());
  CHECK(definition.engine_socket.empty());
  CHECK(definition.secrets.empty());
  CHECK(definition.engine.network.empty());
  CHECK_FALSE(definition.engine.cpu_shares.has_value());
  CHECK_FALSE(environment_from_json(R"({"name":"user-managed","kind":"interpreter"})").image.has_value());
}

TEST_CASE("a run without an image writes no word about one") {
  const std::string text = to_json(runner::RunDefinition{});
  for (const char* key : {"image", "engine", "secrets", "machine"}) CHECK(text.find(key) == std::string::npos);
  CHECK(to_json(runner::EnvironmentRef{}).find("image") == std::string::npos);
}

TEST_CASE("what a run was accepted on is read back as it was written, known or not") {
  runner::RunDefinition definition;
  definition.machine = {.hostname = "h",
                        .system = "Debian GNU/Linux 12 (bookworm)",
                        .kernel = "6.1.0",
                        .architecture = "x86_64",
                        .processor = "AMD EPYC",
                        .cpus = 96,
                        .memory_bytes = 1'099'511'627'776,
                        .gpu_driver = "535.161.08"};
  CHECK(definition_from_json(to_json(definition)).machine == definition.machine);
  definition.machine = runner::MachineFacts{};
  CHECK(definition_from_json(to_json(definition)).machine == definition.machine);
  CHECK_FALSE(definition_from_json(R"({"script":"a.py"})").machine.has_value());
}

TEST_CASE("a damaged engine column is an error of the database, not a crash") {
  CHECK_THROWS_AS(definition_from_json(R"({"engine": {"ulimits": 3, "dns": {"a": 1}}})"), runner::Error);
}
