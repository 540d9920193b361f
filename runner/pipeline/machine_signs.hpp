// What the machine says of itself that a laptop's owner minds: on battery, hot, and who is at it. Read from /sys,
// /proc, /run and /var below a root (RUNNER_MACHINE_ROOT of the daemon; "/"). Any thread; hot() remembers what it saw
// last, one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace runner::pipeline {

class MachineSigns {
 public:
  explicit MachineSigns(std::filesystem::path root) : root_(std::move(root)) {}
  static std::filesystem::path root_of_environment();

  // No mains is connected and a battery of the machine (not of a mouse) discharges.
  bool on_battery() const;
  // The processor was throttled for its temperature since the last call, or a thermal zone has reached the temperature
  // at which the kernel slows something down ("passive") or worse ("hot").
  bool hot();
  // Whether the user's services go on after his last logout.
  bool lingers(const std::string& user) const;
  bool has_systemd() const;
  // The daemon is a service of the user's manager: it ends with it.
  bool is_user_service() const;

 private:
  std::optional<std::string> line(const std::filesystem::path& relative) const;

  const std::filesystem::path root_;
  std::optional<std::int64_t> throttled_;  // times, at the last look
};

}  // namespace runner::pipeline
