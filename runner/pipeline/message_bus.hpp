// The machine's message buses, as far as they are of use here: systemd-logind and the desktop's notifications.
// libsystemd is loaded when it is first needed, and each call makes a connection of its own: a machine without any of
// it pays nothing. Any thread. A bus that does not answer is given up after a while (kBusPatience an answer);
// interrupt() is for those who cannot wait that long.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "runner/os/fd.hpp"

namespace runner::pipeline {

inline constexpr std::chrono::seconds kBusPatience{5};

class MessageBus {
 public:
  MessageBus();
  ~MessageBus();

  // A lock of systemd-logind, held while the descriptor is open. `what`: "idle". Error(kUnavailable) without a bus,
  // logind or libsystemd.
  os::Fd inhibit(const std::string& what, const std::string& why);
  // Whether logind takes the user for absent: no input for a while in any of his sessions, or none of them left.
  // Error(kUnavailable).
  bool user_is_idle(uid_t uid);
  // Whether a user's processes are ended with his last session (KillUserProcesses). Error(kUnavailable).
  bool kills_user_processes();
  // A notification of the desktop whose session bus is the daemon's. Error(kUnavailable).
  void notify(const std::string& summary, const std::string& body);

  // Calls that are under way fail at once, and so do later ones.
  void interrupt();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::pipeline
