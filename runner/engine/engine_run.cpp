// Short containers that are followed to their end.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/engine/answers.hpp"
#include "runner/engine/engine.hpp"
#include "runner/engine/failure.hpp"

namespace runner::engine {
namespace {

using nlohmann::json;

// Of a container without a terminal: frames {stream, 0, 0, 0, size as 4 bytes, big-endian} and then `size` bytes.
class OutputFrames {
 public:
  explicit OutputFrames(const Engine::OnOutput& on_output) : on_output_(on_output) {}

  void feed(std::string_view piece) {
    while (!piece.empty()) {
      if (left_ == 0) {
        const std::size_t taken = std::min(kHeader - header_.size(), piece.size());
        header_ += piece.substr(0, taken);
        piece.remove_prefix(taken);
        if (header_.size() < kHeader) return;
        for (std::size_t i = 4; i < kHeader; ++i) left_ = left_ << 8 | static_cast<std::uint8_t>(header_[i]);
        is_error_ = header_[0] == 2;
        header_.clear();
        continue;
      }
      const std::size_t taken = std::min<std::size_t>(left_, piece.size());
      on_output_(is_error_, piece.substr(0, taken));
      piece.remove_prefix(taken);
      left_ -= static_cast<std::uint32_t>(taken);
    }
  }

 private:
  static constexpr std::size_t kHeader = 8;  // bytes

  const Engine::OnOutput& on_output_;
  std::string header_;
  std::uint32_t left_ = 0;
  bool is_error_ = false;
};

}  // namespace

int Engine::run_container(const std::string& body, const std::string& attempted, const OnOutput& on_output) {
  const auto created = ask({.method = "POST", .target = "/containers/create", .body = body});
  const std::string id = id_in(parsed(socket(), created, attempted), socket(), attempted);
  const auto remove = [&] {
    stop_ = {};  // whoever wants no more of it wants it removed
    try {
      remove_container(id);
    } catch (const Error&) {
      // By its labels it is found by the next daemon.
    }
  };
  const auto stop = stop_;
  int status = 0;
  try {
    status = follow(id, attempted, on_output);
  } catch (...) {
    remove();
    stop_ = stop;
    throw;
  }
  remove();
  stop_ = stop;
  return status;
}

int Engine::follow(const std::string& id, const std::string& attempted, const OnOutput& on_output) {
  const std::string target = facts().api + "/containers/" + id;
  const auto started = ask({.method = "POST", .target = "/containers/" + id + "/start"});
  if (!answered(started, 305)) throw failure(socket(), started, attempted);
  OutputFrames frames(on_output);
  const auto logs = transfers_.call({.target = target + "/logs?follow=1&stdout=1&stderr=1",
                                     .on_piece =
                                         [&](std::string_view piece) {
                                           frames.feed(piece);
                                           return true;
                                         },
                                     .stop = stop_});
  if (!answered(logs)) throw failure(socket(), logs, attempted);
  const json ended = parsed(
      socket(), transfers_.call({.method = "POST", .target = target + "/wait?condition=not-running", .stop = stop_}),
      attempted);
  return whole_number_or<int>(ended, "StatusCode", 0);
}

}  // namespace runner::engine
