// `runner gc`: frees what no run needs, and says what and why.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "runner/api/store_document.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/pipeline/prepared_environments.hpp"
#include "snapshot/checkouts.hpp"
#include "store/content_store.hpp"
#include "store/environments.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

struct GcOptions {
  bool explain = false;
  bool dry_run = false;                        // nothing is touched; the report is the same
  bool keep_caches = false;                    // but for checkouts of snapshots that no run names: what a deletion left
  std::chrono::milliseconds patience{60'000};  // for snapshots that are under way
  std::int64_t environment_bytes = 0;          // of environments that may stay, beside those that runs need
  std::chrono::milliseconds environment_age{};  // since the last use, after which one goes all the same
};

// Called every few milliseconds with what is being done; what it throws ends the work, and nothing is half done then.
using Doing = std::function<void(const std::string&)>;

// Roots are the snapshot and the artifacts of every run. Works on the calling thread while others submit and end runs.
// Error(kConflict) if another gc is at work or a snapshot does not end in time.
struct GcSubjects {
  store::ContentStore& content;
  store::History& history;
  snapshot::Checkouts& checkouts;
  store::Environments& environments;
  PreparedEnvironments& prepared;
  const os::DataDirectory& data;
};
api::GcReport collect_garbage(const GcSubjects& subjects, const GcOptions& options, const Doing& doing);

}  // namespace runner::pipeline
