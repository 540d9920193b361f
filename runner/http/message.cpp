#include "runner/http/message.hpp"

#include <nlohmann/json.hpp>

namespace runner::http {
namespace {

bool is_unreserved(char c) {  // RFC 3986, 2.3
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus { kLiteral, kBlank };

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      if (c == '\0') return std::nullopt;  // no name has one, and C interfaces would cut there
      i += 2;
    } else if (c == '+' && plus == Plus::kBlank) {
      c = ' ';
    }
    decoded.push_back(c);
  }
  return decoded;
}

bool parse_query(std::string_view text, Request& into) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals), Plus::kBlank);
    auto value = percent_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1), Plus::kBlank);
    if (!name || !value) return false;
    into.query.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

}  // namespace

std::optional<std::string> Request::parameter(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return std::nullopt;
}

namespace {

std::string encode_all_but(std::string_view text, std::string_view kept) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c) || kept.find(c) != std::string_view::npos) {
      encoded.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return encoded;
}

}  // namespace

std::string percent_encode(std::string_view text) { return encode_all_but(text, ""); }
std::string percent_encode_path(std::string_view text) { return encode_all_but(text, "/:@"); }

bool parse_target(std::string_view target, Request& into) {
  into.path.clear();
  into.query.clear();
  if (target.empty() || target.front() != '/' || target.find('#') != std::string_view::npos) return false;
  const auto question = target.find('?');
  std::string_view path = target.substr(1, question == std::string_view::npos ? question : question - 1);
  if (question != std::string_view::npos && !parse_query(target.substr(question + 1), into)) return false;
  if (path.empty()) return true;
  for (;;) {
    const auto slash = path.find('/');
    auto segment = percent_decode(path.substr(0, slash), Plus::kLiteral);
    if (!segment) return false;
    into.path.push_back(std::move(*segment));
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string error_json(const Error& error) {
  nlohmann::json body = {{"code", to_string(error.code())}, {"message", error.message()}, {"hint", nullptr}};
  if (!error.hint().empty()) body["hint"] = error.hint();
  // File names in messages may be any bytes; a message must not fail over them.
  return nlohmann::json{{"error", std::move(body)}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Response error_response(const Error& error) {
  return Response{.status = http_status(error.code()), .body = error_json(error)};
}

Error error_from(const Response& response) {
  const auto parsed = nlohmann::json::parse(response.body, nullptr, false);
  const auto text = [](const nlohmann::json& object, const char* key) {
    const auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  if (parsed.is_object() && parsed.contains("error") && parsed["error"].is_object()) {
    const auto& error = parsed["error"];
    return Error(error_code_from(text(error, "code")), text(error, "message"), text(error, "hint"));
  }
  return Error(ErrorCode::kInternal, "the daemon answered with status " + std::to_string(response.status));
}

}  // namespace runner::http
