#include <catch2/catch.hpp>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "embedded/openapi.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/daemon/run_routes.hpp"

namespace {

// "GET /v1/runs" for every operation; with `mark`, for those that have it.
std::vector<std::string> documented_operations(const char* mark = nullptr) {
  const auto document = nlohmann::json::parse(runner::embedded::openapi);
  std::vector<std::string> documented;
  for (const auto& [path, operations] : document["paths"].items())
    for (const auto& [method, operation] : operations.items()) {
      if (method == "parameters" || (mark != nullptr && !operation.value(mark, false))) continue;
      std::string name = method;
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      documented.push_back(name + " " + path);
    }
  std::sort(documented.begin(), documented.end());
  return documented;
}

}  // namespace

TEST_CASE("the OpenAPI file and the routes name exactly the same operations") {
  auto served = runner::daemon::Routes::names();
  std::sort(served.begin(), served.end());
  CHECK(documented_operations() == served);
}

TEST_CASE("the OpenAPI file marks exactly the operations that the run socket serves") {
  auto served = runner::daemon::RunRoutes::names();
  std::sort(served.begin(), served.end());
  CHECK(documented_operations("x-run-socket") == served);
}
