// What has been found wrong with a database file while it was in use: a disk that refuses (an I/O error, but no full
// disk), which is over when everything could be written and synced once; or a page that is not as it was written, which
// stays until the file is opened again. Any thread.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

namespace runner::store {

class Damage {
 public:
  enum class Kind { kRefused, kCorrupt };
  void report(Kind kind, const std::string& what);
  bool may_be_over() const;  // there is a finding, and it is a disk that has refused
  void forget();             // somebody has looked at all of the file: what was found can be mended by writing
  void mended();             // the disk takes everything again
  // Error(kUnavailable) that says since when the file is only read, why, and the way out; nothing while all is well.
  std::optional<Error> found() const;

 private:
  struct Finding {
    Kind kind;
    std::string what;
    UtcTime when;
  };
  mutable std::mutex mutex_;
  std::optional<Finding> finding_;  // under mutex_
};

}  // namespace runner::store
