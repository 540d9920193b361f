// HTTP messages as the rest of the project sees them; no Beast in here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace runner::http {

struct Request {
  std::string method;  // "GET"
  std::vector<std::string> path;  // percent-decoded segments: /v1/runs/a%2Fb → {"v1", "runs", "a/b"}
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order, repeatable
  std::string body;

  std::optional<std::string> parameter(std::string_view name) const;  // the first of that name
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};

// "/v1/runs/" + percent_encode("a/b"): everything but unreserved characters is encoded.
std::string percent_encode(std::string_view text);
// Splits and decodes a request target into path and query; false if it is malformed.
bool parse_target(std::string_view target, Request& into);

}  // namespace runner::http
