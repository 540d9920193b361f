// Credentials in URLs: a user and a password, and parameters of the query (tokens, Azure's SAS, S3's signatures).
// Private to this folder; without_credentials() is in specification_files.hpp. Any thread; no I/O.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "envs/specification_files.hpp"

namespace runner::envs {

// A text that quotes URLs, as messages do, without their credentials.
std::string without_credentials_in(std::string_view text, StrippedUrl (*strip)(std::string_view) = without_credentials);

// What of a URL is never to be shown, as it stands there and decoded: the longest first.
std::vector<std::string> secrets_in(std::string_view url);

// Whether what a variable of this name holds is a secret by itself: its name speaks of a token, a password or a key.
bool is_called_secret(std::string_view name);

// Adds those that are not there yet, the longest first: one may be a part of another.
void add_secrets(std::vector<std::string>& secrets, const std::vector<std::string>& more);

}  // namespace runner::envs
