// The stream of a build (one JSON object a line): Docker's classic builder, and Podman's way to say the same.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runner/engine/json_lines.hpp"
#include "runner/engine/pull_progress.hpp"

namespace runner::engine {

// "Step 3/5 : RUN make" or, Podman's, "[2/2] STEP 3/5: RUN make".
struct BuildStep {
  int stage = 0;  // from 1; 0: the steps of all stages are numbered through
  int number = 0;
  int total = 0;
  std::string text;
  bool operator==(const BuildStep&) const = default;
};
std::optional<BuildStep> parse_build_step(std::string_view line);

// Who follows a build. What they throw ends it.
struct BuildListener {
  std::function<void(std::string_view line)> on_line{};  // of the builder's and of the commands' output, but for steps
  std::function<void(const BuildStep&)> on_step{};       // those that follow the one before: a command can say anything
  std::function<void(const std::string&)> on_progress{};  // of a base image that is pulled: a line for people
};

class BuildAnswer {
 public:
  explicit BuildAnswer(const BuildListener& listener) : listener_(listener) {}

  void feed(std::string_view piece);
  void end();  // tells a last line without its end

  const std::string& image() const { return image_; }  // "sha256:…", or the beginning of its digits; empty: none
  const std::string& error() const { return error_; }  // the Engine's; empty: none
  std::optional<int> exit_status() const { return exit_status_; }  // of the command that failed
  const std::optional<BuildStep>& step() const { return step_; }   // the last one that was begun

 private:
  void take(std::string_view object);
  void take_text(std::string_view text);
  void take_line(const std::string& line);
  bool follows(const BuildStep& step) const;

  const BuildListener& listener_;
  JsonLines lines_;
  std::string partial_;
  std::optional<BuildStep> step_;
  std::optional<PullProgress> pull_;
  std::string image_;
  bool image_is_whole_ = false;  // it was told by the builder alone, not as a line among others
  std::string error_;
  std::optional<int> exit_status_;
};

}  // namespace runner::engine
