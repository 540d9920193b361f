#include "runner/engine/pull_progress.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runner/core/time.hpp"

namespace runner::engine {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;  // of one layer; sums of them stay numbers

}  // namespace

void PullProgress::feed(std::string_view piece) {
  lines_.feed(piece, [this](std::string_view line) { take(line); });
}

void PullProgress::take(std::string_view text) {
  const auto object = nlohmann::json::parse(text, nullptr, false);
  if (!object.is_object()) return;
  const auto text_at = [](const nlohmann::json& from, const char* key) {
    const auto at = from.find(key);
    return at != from.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  if (auto error = text_at(object, "error"); !error.empty()) {
    error_ = std::move(error);
    return;
  }
  const std::string id = text_at(object, "id");
  const std::string status = text_at(object, "status");
  if (id.empty() || status.starts_with("Pulling from")) {
    status_ = status;
    return;
  }
  Layer& layer = layers_[id];
  const auto detail = object.find("progressDetail");
  if (status == "Downloading" && detail != object.end() && detail->is_object()) {
    const auto number = [&](const char* key) {
      const auto at = detail->find(key);
      return at != detail->end() && at->is_number_integer()
                 ? std::clamp(at->get<std::int64_t>(), std::int64_t{0}, kMostBytes)
                 : std::int64_t{0};
    };
    layer.current = number("current");
    layer.total = std::max(layer.total, number("total"));
  }
  if (status == "Download complete" || status == "Pull complete" || status == "Already exists")
    layer.current = layer.total;
  layer.done = layer.done || status == "Pull complete" || status == "Already exists";
}

std::string PullProgress::line() const {
  if (layers_.empty()) return status_;
  std::int64_t current = 0;
  std::int64_t total = 0;
  for (const auto& [id, layer] : layers_) {
    current += layer.current;
    total += layer.total;
  }
  const auto done = std::count_if(layers_.begin(), layers_.end(), [](const auto& entry) { return entry.second.done; });
  std::string text = std::to_string(done) + " of " + std::to_string(layers_.size()) + " layers";
  if (total > 0) text += ", " + format_size(current) + " of " + format_size(total);
  return text;
}

}  // namespace runner::engine
