#include <catch2/catch.hpp>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "embedded/openapi.hpp"
#include "runner/daemon/routes.hpp"

TEST_CASE("the OpenAPI file and the routes name exactly the same operations") {
  const auto document = nlohmann::json::parse(runner::embedded::openapi);
  std::vector<std::string> documented;
  for (const auto& [path, operations] : document["paths"].items())
    for (const auto& [method, operation] : operations.items()) {
      if (method == "parameters") continue;
      std::string name = method;
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      documented.push_back(name + " " + path);
    }
  auto served = runner::daemon::Routes::names();
  std::sort(documented.begin(), documented.end());
  std::sort(served.begin(), served.end());
  CHECK(documented == served);
}
