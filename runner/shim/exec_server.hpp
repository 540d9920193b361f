// `run exec` inside of the shim: passes what the daemon asks for on to runner-init, and init's answers back. One
// thread.
#pragma once

#include <poll.h>

#include <cstdint>
#include <map>
#include <vector>

#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"
#include "runner/shim/init_link.hpp"

namespace runner::shim {

class ExecServer {
 public:
  explicit ExecServer(const os::RunDirectory& run);

  // The listening socket and one connection a command; add to a poll set.
  void add_to(std::vector<pollfd>& watched) const;
  // A descriptor of add_to() is ready; others are ignored. `refusal`: an errno for new commands, 0: they are welcome.
  void on_ready(int fd, InitLink& init, int refusal);
  // kExecStarted, kExecRefused or kExecEnded.
  void on_record(const InitRecord& record);

 private:
  struct Command {
    os::Fd connection;
    bool asked = false;  // its one message came
  };
  void accept();
  void hear(std::uint32_t id, Command& command, InitLink& init, int refusal);

  os::Fd listener_;
  std::map<std::uint32_t, Command> commands_;
  std::uint32_t next_ = 1;
};

}  // namespace runner::shim
