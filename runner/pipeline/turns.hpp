// Work of which at most one is done at a time for each run, by whichever thread comes first. Any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace runner::pipeline {

class Turns {
 public:
  // The right to work for one run, given back at the end.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)), run_(std::move(other.run_)) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    Turn& operator=(Turn&&) = delete;
    ~Turn() { finish(); }
    explicit operator bool() const { return turns_ != nullptr; }  // false: another has it
    // Gives the turn back. False if somebody has left more to do meanwhile: somebody must come to it soon.
    bool finish();

   private:
    friend class Turns;
    Turn(Turns* turns, std::string run) : turns_(turns), run_(std::move(run)) {}
    Turns* turns_;
    std::string run_;
  };

  // For who cannot wait: where another has the turn, it is left to do the work once more.
  Turn take_or_leave(const std::string& run);
  // False if it is not free within `limit`.
  Turn take(const std::string& run, std::chrono::milliseconds limit);
  Turn take(const std::string& run);

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  std::map<std::string, bool> taken_;  // true: there is more to do
};

}  // namespace runner::pipeline
