// Copies the FIFO that is the script's stdout and stderr into std_log.txt, at once and in order. The FIFO is held open
// for reading and writing, so the script never sees a missing reader. A full disk costs log, never the script: what
// cannot be written is counted and dropped. So is what comes after the log's limit: what is kept is a prefix of what
// was printed. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"

namespace runner::shim {

class LogCopy {
 public:
  // Makes the FIFO if it is missing and opens both ends; throws Error. `limit`: bytes that are kept; none: all.
  LogCopy(const os::RunDirectory& run, std::optional<std::int64_t> limit);

  int fifo() const { return fifo_.get(); }  // readable: call copy_some()
  bool copy_some();                         // what is there, at most 8 MiB; false if nothing was
  void finish();  // everything that is left; then fdatasync. Only when no writer lives any more

  std::int64_t lost_bytes() const { return lost_; }
  const std::string& lost_reason() const { return reason_; }
  std::int64_t bytes_over_limit() const { return over_limit_; }

 private:
  bool move_some();
  bool open_aside();
  void empty_aside(ssize_t bytes);
  ssize_t read_from(int pipe);
  void store(const char* bytes, std::size_t size);

  os::Fd fifo_;
  os::Fd log_;
  os::Fd aside_in_, aside_out_;  // a pipe of our own, opened when there is much to move
  bool much_ = false;            // was moved the last time
  bool wrote_ = false;
  std::optional<std::int64_t> room_;  // bytes until the limit
  std::int64_t over_limit_ = 0;
  std::int64_t lost_ = 0;
  std::string reason_;
};

}  // namespace runner::shim
