#include "store/parameters.hpp"

#include <catch2/catch.hpp>

using namespace runner;
using namespace runner::store;

namespace {

std::vector<Parameter> of_arguments(std::vector<std::string> arguments) {
  RunDefinition definition;
  definition.arguments = std::move(arguments);
  return parameters_of(definition);
}

Parameter text(const std::string& key, const std::string& value) { return {.key = key, .value = value}; }
Parameter number(const std::string& key, const std::string& value, Number is) {
  return {.key = key, .value = value, .number = is};
}
using All = std::vector<Parameter>;

}  // namespace

TEST_CASE("Parameters are options with their values, flags, and what is set with an equals sign") {
  CHECK(of_arguments({"--lr", "0.1", "--epochs=10", "-b", "32", "--augment", "--name", "", "model.depth=3", "+new=x",
                      "++forced=1e-3"}) == All{text("augment", "true"), number("b", "32", std::int64_t{32}),
                                               number("epochs", "10", std::int64_t{10}), number("forced", "1e-3", 1e-3),
                                               number("lr", "0.1", 0.1), number("model.depth", "3", std::int64_t{3}),
                                               text("name", ""), text("new", "x")});
  CHECK(of_arguments({"--delta", "-0.5", "--low", "-1", "--verbose"}) ==
        All{number("delta", "-0.5", -0.5), number("low", "-1", std::int64_t{-1}), text("verbose", "true")});
  CHECK(of_arguments({"--a=1", "--a", "2"}) == All{number("a", "2", std::int64_t{2})});
  CHECK(of_arguments({"--eq=a=b"}) == All{text("eq", "a=b")});
}

TEST_CASE("Files, addresses and sentences are no parameters") {
  CHECK(of_arguments({"data.csv", "/a=b", "s3://x?y=z", "x y=1", "=1", "-", "--", "---", "1=2", "a:b=c", "--=5", "-5"})
            .empty());
  CHECK(of_arguments({"--x", "--", "--lr", "0.1", "lr=0.2"}) == All{number("lr", "0.2", 0.2), text("x", "true")});
}

TEST_CASE("Of a command the long options and settings behind the program count") {
  RunDefinition definition;
  definition.command = {"python=3", "-m", "train", "--lr", "0.1", "seed=3", "-x", "4"};
  CHECK(parameters_of(definition) == All{number("lr", "0.1", 0.1), number("seed", "3", std::int64_t{3})});
  definition.command = {"true"};
  CHECK(parameters_of(definition).empty());
}

TEST_CASE("What is too long or too much is left out") {
  const std::string longest(kMaxParameter, 'x');
  CHECK(of_arguments({"--a", longest, "--b", longest + "x", "--" + longest, "1", "--y" + longest, "1"}).size() == 2);
  std::vector<std::string> many;
  for (int i = 0; i < 3000; ++i) many.push_back("p" + std::to_string(i) + "=1");
  CHECK(of_arguments(many).size() == kMaxParameters);
}

TEST_CASE("Numbers are whole texts") {
  CHECK(number_of("9007199254740993") == Number(std::int64_t{9007199254740993}));
  CHECK(number_of("9223372036854775808") == Number(9223372036854775808.0));
  CHECK(number_of("-.5") == Number(-0.5));
  CHECK(number_of("inf").has_value());
  for (const char* none : {"", " 1", "1 ", "1x", "nan", "-nan", "+1", "0x10", "1e999", "-", "."}) {
    INFO(none);
    CHECK_FALSE(number_of(none));
  }
}
