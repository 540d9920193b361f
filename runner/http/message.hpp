// HTTP messages as the rest of the project sees them; no Beast in here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"

namespace runner::http {

// Of an interim response: a percent-encoded line for people, ahead of the answer.
inline constexpr std::string_view kNoticeHeader = "Runner-Notice";
// Of a log: how many bytes of it come before the answer's first.
inline constexpr std::string_view kOffsetHeader = "Runner-Offset";

struct Request {
  std::string method;             // "GET"
  std::vector<std::string> path;  // percent-decoded segments: /v1/runs/a%2Fb → {"v1", "runs", "a/b"}
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order, repeatable
  std::string body;
  std::optional<std::string> range{};  // the header of that name

  std::optional<std::string> parameter(std::string_view name) const;  // the first of that name
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};

// "/v1/runs/" + percent_encode("a/b"): everything but unreserved characters is encoded.
std::string percent_encode(std::string_view text);
// The same with '/' and ':' left as they are: an image's name in a foreign API's path.
std::string percent_encode_path(std::string_view text);
// Splits and decodes a request target into path and query; false if it is malformed (no leading slash, a broken %XX,
// %00). In the query "+" is a blank, as HTML forms and Python's urlencode write it.
bool parse_target(std::string_view target, Request& into);

// The one shape of an error on the wire: {"error": {"code", "message", "hint"}}.
std::string error_json(const Error& error);
Response error_response(const Error& error);
// The way back, for the client. An answer that is not of that shape becomes kInternal with the status in its message.
Error error_from(const Response& response);

}  // namespace runner::http
