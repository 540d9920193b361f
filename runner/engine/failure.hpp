// What went wrong with the Engine, as the one Error, in the Engine's own words where it has any.
#pragma once

#include <filesystem>
#include <string>

#include "runner/core/error.hpp"
#include "runner/http/unix_transfers.hpp"

namespace runner::engine {

// kPermission with the ways to get it, else kUnavailable.
Error unreachable(const std::filesystem::path& socket, int os_error);

// For an answer of status >= 300 or a transfer that failed; `attempted` is what was asked, for people ("create the
// container"). 400 → kInvalid, 401 and 403 → kPermission, 404 → kNotFound, 409 → kConflict, else kUnavailable.
Error failure(const std::filesystem::path& socket, const http::TransferResult& result, const std::string& attempted);

// The Engine's "message" on one line; the body itself if it is not of that shape.
std::string engine_words(const http::TransferResult& result);

// For what an Engine says of a pull or a build that failed. `registry`: its host, where it is known. kPermission with
// the way to log in for a refusal, kNoSpace for a full disk, kUnavailable for a registry that cannot be reached.
Error registry_failure(const std::string& attempted, const std::string& words, const std::string& registry,
                       ErrorCode otherwise);

}  // namespace runner::engine
