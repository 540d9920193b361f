#include "runner/daemon/request_values.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"

namespace runner::daemon {

std::pair<std::string, std::optional<std::string>> key_value(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos) return {text, std::nullopt};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

bool is_true(const std::optional<std::string>& parameter) { return parameter == "1" || parameter == "true"; }

std::int64_t whole_number(const std::string& text, const std::string& name) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0)
    throw Error(ErrorCode::kInvalid, name + ": '" + text + "' is not a whole number");
  return value;
}

void refuse_bombs(std::string_view body) {
  constexpr std::size_t kMostValues = 100'000;  // of up to 100 bytes each once they are parsed
  constexpr std::size_t kDeepest = 64;          // what is parsed is walked recursively
  std::size_t values = 0;
  std::size_t depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (c == '"') in_text = !in_text;
    if (in_text) {
      if (c == '\\') ++i;
      continue;
    }
    if (c == '[' || c == '{') {
      ++values;
      if (++depth > kDeepest)
        throw Error(ErrorCode::kInvalid, "request body: nested more than " + std::to_string(kDeepest) + " deep");
    } else if (c == ']' || c == '}') {
      if (depth > 0) --depth;
    } else if (c == ',') {
      ++values;
    }
    if (values > kMostValues)
      throw Error(ErrorCode::kInvalid, "request body: more than " + std::to_string(kMostValues) + " values");
  }
}

nlohmann::json body_of(const http::Request& request) {
  if (request.body.empty()) return nlohmann::json::object();
  const auto body = nlohmann::json::parse(request.body, nullptr, false);
  if (!body.is_object()) throw Error(ErrorCode::kInvalid, "request body: not a JSON object");
  return body;
}

std::string text_in(const nlohmann::json& body, const char* name, const std::string& otherwise) {
  const auto found = body.find(name);
  if (found == body.end()) return otherwise;
  if (!found->is_string()) throw Error(ErrorCode::kInvalid, std::string("'") + name + "' must be a string");
  return found->get<std::string>();
}

bool truth_in(const nlohmann::json& body, const char* name, bool otherwise) {
  const auto found = body.find(name);
  if (found == body.end()) return otherwise;
  if (!found->is_boolean()) throw Error(ErrorCode::kInvalid, std::string("'") + name + "' must be true or false");
  return found->get<bool>();
}

std::string absolute_path(const nlohmann::json& body, const char* name) {
  const auto at = body.find(name);
  if (at == body.end() || !at->is_string() || !at->get_ref<const std::string&>().starts_with('/'))
    throw Error(ErrorCode::kInvalid, std::string(name) + ": must be an absolute path");
  return at->get<std::string>();
}

std::string absolute_path(const http::Request& request, const char* name) {
  const auto value = request.parameter(name);
  if (!value || !value->starts_with('/'))
    throw Error(ErrorCode::kInvalid, std::string(name) + ": must be an absolute path");
  return *value;
}

std::function<void(const std::string&)> notices_to(const http::Request& request, Exchange& exchange) {
  if (request.parameter("notices") != "1") return {};
  return [&exchange](const std::string& notice) {
    try {
      exchange.inform(notice);
    } catch (const ClientGone&) {
    }
  };
}

}  // namespace runner::daemon
