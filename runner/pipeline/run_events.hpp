// Who waits for what happens to a run: log followers and `wait`. Any thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "runner/os/fd.hpp"
#include "runner/os/guarded.hpp"

namespace runner::pipeline {

class RunEvents {
  struct Table;

 public:
  RunEvents();
  ~RunEvents();

  // An eventfd that becomes readable whenever something about the run may have changed: its log grew, its status moved.
  class Subscription {
   public:
    Subscription(Subscription&&) noexcept = default;
    ~Subscription();
    int fd() const { return fd_.get(); }
    void clear() const;  // call before looking at the run's state, so that nothing is missed

   private:
    friend class RunEvents;
    Subscription(std::shared_ptr<Table> table, std::string id, os::Fd fd);
    std::shared_ptr<Table> table_;
    std::string id_;
    os::Fd fd_;
  };

  Subscription subscribe(const std::string& id);
  void notify(const std::string& id);

 private:
  std::shared_ptr<Table> table_;
};

}  // namespace runner::pipeline
