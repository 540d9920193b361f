#include "runner/cli/quoted_path.hpp"

#include <catch2/catch.hpp>
#include <string>

using runner::cli::quoted_path;

// The expectations were printed by `git ls-files` 2.39 with its defaults.
TEST_CASE("names are quoted as git quotes them") {
  CHECK(quoted_path("a b/plain-name.py") == "a b/plain-name.py");
  CHECK(quoted_path("tab\there") == "\"tab\\there\"");
  CHECK(quoted_path("new\nline") == "\"new\\nline\"");
  CHECK(quoted_path("quote\"") == "\"quote\\\"\"");
  CHECK(quoted_path("back\\slash") == "\"back\\\\slash\"");
  CHECK(quoted_path("caf\xc3\xa9") == "\"caf\\303\\251\"");
  CHECK(quoted_path(std::string("\x01\x7f\x1b", 3)) == "\"\\001\\177\\033\"");
  CHECK(quoted_path("\a\b\v\f\r") == "\"\\a\\b\\v\\f\\r\"");
  CHECK(quoted_path("'single' $dollar") == "'single' $dollar");
}
