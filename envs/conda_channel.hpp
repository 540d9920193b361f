// Channels: which ones count, and their credentials: "user:password@", and "/t/TOKEN/" in the path. Private to this
// folder. Any thread; no I/O.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "envs/specification_files.hpp"

namespace runner::envs {

// The channels a client searches: "defaults" and "nodefaults" as conda understands them, conda-forge for none.
std::vector<std::string> effective_channels(const std::vector<std::string>& channels);

// As without_credentials, and without a token in the path. ${VARIABLES} are no credentials.
StrippedUrl without_channel_credentials(std::string_view url);

// A match spec with what `change` makes of each URL in it: its channel's ("URL::name", "name[channel='URL']"), its own.
std::string with_changed_urls(std::string_view spec, const std::function<std::string(const std::string& url)>& change);
// A match spec as a message may quote it.
std::string without_spec_credentials(std::string_view spec);

// As secrets_in, and a token in the path.
std::vector<std::string> channel_secrets(std::string_view url);

// `url` with the credentials of the longest URL that it begins with.
std::string with_credentials(const std::string& url, const std::map<std::string, std::string>& credentials);

// ${NAME} replaced by the variable. Error(kInvalid) naming the one that is not set.
std::string with_variables(const std::string& url, const std::map<std::string, std::string>& variables);

}  // namespace runner::envs
