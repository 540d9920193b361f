// What has been found wrong with a database file while it was in use: an I/O error other than a full disk, or a page
// that is not as it was written. The first finding stays until the file is opened again. Any thread.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

namespace runner::store {

class Damage {
 public:
  void report(const std::string& what);
  // Error(kUnavailable) that says since when the file is only read, why, and the way out; nothing while all is well.
  std::optional<Error> found() const;

 private:
  struct Finding {
    std::string what;
    UtcTime when;
  };
  mutable std::mutex mutex_;
  std::optional<Finding> finding_;  // under mutex_
};

}  // namespace runner::store
