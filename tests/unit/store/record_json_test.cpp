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
  for (const char* key : {"image", "engine", "secrets"}) CHECK(text.find(key) == std::string::npos);
  CHECK(to_json(runner::EnvironmentRef{}).find("image") == std::string::npos);
}

TEST_CASE("a damaged engine column is an error of the database, not a crash") {
  CHECK_THROWS_AS(definition_from_json(R"({"engine": {"ulimits": 3, "dns": {"a": 1}}})"), runner::Error);
}
