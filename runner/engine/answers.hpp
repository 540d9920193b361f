// The Engine's answers as values. Private to this folder.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runner/http/unix_transfers.hpp"

namespace runner::engine {

std::string text_at(const nlohmann::json& object, const char* key);  // empty if it is none
std::vector<std::string> texts_at(const nlohmann::json& object, const char* key);

bool answered(const http::TransferResult& result, int below = 300);

// The body; throws the Error of failure.hpp unless it was answered.
nlohmann::json parsed(const std::filesystem::path& socket, const http::TransferResult& result,
                      const std::string& attempted);

// What was made or found; without it every later question would be about something else.
std::string id_in(const nlohmann::json& body, const std::filesystem::path& socket, const std::string& attempted);

}  // namespace runner::engine
