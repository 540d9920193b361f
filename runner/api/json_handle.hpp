// What several documents do alike with their JSON. Throws nothing; any thread.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace runner::api {

/// In one line. Bytes that are no UTF-8 become U+FFFD: file names may have them.
inline std::string dump(const nlohmann::ordered_json& document) {
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// Empty text is null in a document.
inline nlohmann::ordered_json text_or_null(std::string_view text) {
  return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
}

}  // namespace runner::api
