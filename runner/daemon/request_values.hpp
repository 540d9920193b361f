// Values out of a request's query and body. Any thread; Error(kInvalid) names what is wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runner/daemon/http_server.hpp"

namespace runner::daemon {

// "quality=good" → {"quality", "good"}; "quality" → {"quality", nothing}.
std::pair<std::string, std::optional<std::string>> key_value(const std::string& text);

bool is_true(const std::optional<std::string>& parameter);  // "1" or "true"

std::int64_t whole_number(const std::string& text, const std::string& name);  // not negative

// A body with more or deeper values than any request has a use for is refused before it is parsed: it would take many
// times its size in memory, or a stack.
void refuse_bombs(std::string_view body);

nlohmann::json body_of(const http::Request& request);  // an object; an empty body is an empty one

// The body's member `name`; without it `otherwise`.
std::string text_in(const nlohmann::json& body, const char* name, const std::string& otherwise = {});
bool truth_in(const nlohmann::json& body, const char* name, bool otherwise = false);

// The body's member `name`, an absolute path.
std::string absolute_path(const nlohmann::json& body, const char* name);

// The query's parameter `name`, an absolute path; may hold any byte but NUL.
std::string absolute_path(const http::Request& request, const char* name);

// What tells the client something before its answer, if it has asked for that ("?notices=1"); else nothing. A client
// that has gone is no reason to stop.
std::function<void(const std::string&)> notices_to(const http::Request& request, Exchange& exchange);

}  // namespace runner::daemon
