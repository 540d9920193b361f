#include "runner/engine/answers.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/engine/failure.hpp"

namespace runner::engine {

using nlohmann::json;

std::string text_at(const json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::vector<std::string> texts_at(const json& object, const char* key) {
  std::vector<std::string> texts;
  const auto at = object.is_object() ? object.find(key) : object.end();
  if (at == object.end() || !at->is_array()) return texts;
  for (const json& item : *at)
    if (item.is_string()) texts.push_back(item.get<std::string>());
  return texts;
}

bool answered(const http::TransferResult& result, int below) {
  return result.kind == http::TransferResult::Kind::kAnswered && result.status < below;
}

json parsed(const std::filesystem::path& socket, const http::TransferResult& result, const std::string& attempted) {
  if (!answered(result)) throw failure(socket, result, attempted);
  json body = json::parse(result.body, nullptr, false);
  if (body.is_discarded())
    throw Error(ErrorCode::kUnavailable, attempted + ": the answer of " + socket.string() + " is no JSON",
                "is it a container engine?");
  return body;
}

// What was made or found; without it every later question would be about something else.
std::string id_in(const json& body, const std::filesystem::path& socket, const std::string& attempted) {
  std::string id = text_at(body, "Id");
  if (id.empty())
    throw Error(ErrorCode::kUnavailable, attempted + ": the answer of " + socket.string() + " names no Id",
                "is it a container engine?");
  return id;
}

}  // namespace runner::engine
