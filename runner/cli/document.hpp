// Reading the API's JSON for people: tolerant access, and the short forms that several commands show.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runner/cli/terminal.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

using Json = nlohmann::ordered_json;  // keeps the daemon's order of keys: metrics in the order they were first logged

// Error(kInternal) when the daemon's answer is not JSON.
Json parse_document(std::string_view text);
std::string dump_document(const Json& document);  // one line; bytes that are not UTF-8 are replaced

// The member, or an empty value when it is absent, null or of another type.
std::string text_at(const Json& object, const char* key);
std::optional<double> number_at(const Json& object, const char* key);
const Json& member(const Json& object, const char* key);  // null when absent

// The 8-hex tail of a run id, by which every command knows the run.
std::string short_id(std::string_view run_id);
// cli.md's exit code for a final run; 125 for one that ended without an outcome.
int exit_code_of_run(const Json& run);
Colour colour_of_status(std::string_view status);
// "Failed (exit code 1)", "Queued (2 runs ahead)", "Canceled (time limit)": the status with its reason in a few words.
std::string status_with_reason(const Json& run);
std::string duration_text(const Json& run);          // "4m 05s"; empty when it has not started
std::string age_text(const Json& run, UtcTime now);  // "3m", "2h", "5d"
std::string scalar_text(const Json& value);          // 0.25, 17, best.pt
// The last value, for a metric that was logged once or more often.
std::string metric_text(const Json& value);
// A word as a shell takes it: in quotes where it needs them.
std::string shell_quoted(const std::string& word);
std::string shell_quoted(const Json& words);  // a list of them
// How to read the page about an ending that asks for an explanation; empty for any other.
std::string post_mortem_command(const Json& run);
std::string tags_text(const Json& run);  // "quality=good fast"

}  // namespace runner::cli
