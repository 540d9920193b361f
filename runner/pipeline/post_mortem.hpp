// One page about a run that did not end by itself: the artifact system_logs/postmortem.txt. Pure; everything in it that
// the run wrote, its processes' command lines included, is neutralised.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/shim/last_look.hpp"
#include "runner/shim/usage.hpp"

namespace runner::pipeline {

inline constexpr std::string_view kPostMortemName = "system_logs/postmortem.txt";
inline constexpr std::string_view kUsageName = "system_logs/usage.jsonl";
inline constexpr std::int64_t kLogEndBytes = 256 << 10;  // of the log, for its last lines and for stacks

// Signal, time limit, out of memory, killed from outside, lost.
bool wants_post_mortem(OutcomeKind kind);

struct PostMortem {
  std::string run;
  std::string command;  // what ran
  std::optional<UtcTime> started;
  UtcTime ended{};
  Outcome outcome;
  std::optional<shim::LastLook> look;    // none: a lost supervisor cannot tell
  std::vector<shim::UsageSample> usage;  // the whole file, for where there is no look
  std::string log_end;                   // at most kLogEndBytes
  bool whole_log = false;                // log_end is all of it
};
std::string to_text(const PostMortem& facts);

// A line of foreign text that may be shown: its last state if it was rewritten with carriage returns, control
// characters spelled out, at most `most` bytes.
std::string shown_line(std::string_view line, std::size_t most);
// What Python's faulthandler has printed in a log, line by line; the other lines in `rest`.
std::vector<std::string_view> stack_lines(std::string_view log, std::vector<std::string_view>& rest);

}  // namespace runner::pipeline
