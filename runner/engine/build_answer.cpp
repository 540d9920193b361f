#include "runner/engine/build_answer.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "runner/engine/answers.hpp"

namespace runner::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestLine = 1 << 16;  // bytes; a longer one is told in pieces

bool eat(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

bool eat_number(std::string_view& text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool is_image_digits(std::string_view text) {
  return text.size() >= 12 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::optional<BuildStep> parse_build_step(std::string_view line) {
  BuildStep step;
  int stages = 0;
  if (eat(line, "[") &&
      !(eat_number(line, step.stage) && eat(line, "/") && eat_number(line, stages) && eat(line, "] ")))
    return std::nullopt;
  if (!eat(line, "Step ") && !eat(line, "STEP ")) return std::nullopt;
  if (!eat_number(line, step.number) || !eat(line, "/") || !eat_number(line, step.total)) return std::nullopt;
  if (!eat(line, " : ") && !eat(line, ": ")) return std::nullopt;
  if (step.number < 1 || step.number > step.total || step.stage < 0)
    return std::nullopt;  // a command may print anything
  step.text = line;
  return step;
}

void BuildAnswer::feed(std::string_view piece) {
  lines_.feed(piece, [this](std::string_view line) { take(line); });
}

void BuildAnswer::end() {
  if (!partial_.empty()) take_text("\n");
}

void BuildAnswer::take(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return;
  if (const auto stream = text_at(object, "stream"); !stream.empty()) return take_text(stream);
  if (const auto aux = object.find("aux"); aux != object.end()) {
    if (auto id = text_at(*aux, "ID"); !id.empty()) {
      image_ = std::move(id);
      image_is_whole_ = true;
    }
    return;
  }
  if (auto error = text_at(object, "error"); !error.empty()) {
    end();
    error_ = std::move(error);
    const auto detail = object.find("errorDetail");
    if (detail == object.end() || !detail->is_object()) return;
    if (auto message = text_at(*detail, "message"); !message.empty()) error_ = std::move(message);
    const auto code = detail->find("code");
    if (code != detail->end() && code->is_number_integer() && code->get<std::int64_t>() > 0 &&
        code->get<std::int64_t>() < 256)
      exit_status_ = code->get<int>();
    return;
  }
  if (!object.contains("status")) return;
  if (!pull_) pull_.emplace();
  pull_->feed(std::string(text) + "\n");
  if (listener_.on_progress) listener_.on_progress(pull_->line());
}

// A line may come in pieces, and a piece may hold several lines.
void BuildAnswer::take_text(std::string_view text) {
  for (const char c : text) {
    const bool ended = c == '\n' || c == '\r' || partial_.size() >= kLongestLine;
    if (ended) {
      take_line(partial_);
      partial_.clear();
    }
    if (c != '\n' && c != '\r') partial_ += c;
  }
}

bool BuildAnswer::follows(const BuildStep& step) const {
  if (!step_) return true;
  if (step.stage != step_->stage) return step.stage > step_->stage && step.number == 1;
  return step.total == step_->total && step.number == step_->number + 1;
}

void BuildAnswer::take_line(const std::string& line) {
  if (auto step = parse_build_step(line); step && follows(*step)) {
    step_ = std::move(step);
    pull_.reset();
    if (listener_.on_step) listener_.on_step(*step_);
    return;
  }
  if (std::string_view rest = line; eat(rest, "Successfully built ") && !image_is_whole_ && is_image_digits(rest))
    image_ = rest;  // the last one is the builder's
  if (listener_.on_line) listener_.on_line(line);
}

}  // namespace runner::engine
