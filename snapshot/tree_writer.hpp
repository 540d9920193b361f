// Real files of trees: the walking thread makes directories and hands out what belongs into them; from some size on a
// helper ("snapshot-writer") writes as well, and the walking thread lends a hand when it is ahead and at the end.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runner/os/fd.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {

using SharedDirectory = std::shared_ptr<const os::Fd>;

struct Written {
  std::int64_t entries = 0;  // files, links and directories
  std::int64_t bytes = 0;    // of files
  std::int64_t disk = 0;     // bytes in blocks of 4 KiB, directories included
};

// One thread calls. The contents are checked by the store as they are read.
class TreeWriter {
 public:
  // `root`: the directory, just made by mkdir(…, 0755), that everything goes into. Its mode tells whether the umask (or
  // a default ACL) takes bits away, so that files need a chmod.
  TreeWriter(const ContentReader& store, int root);
  ~TreeWriter();  // what is not written by then is not written

  // A directory that is not there yet; 0755 whatever the umask.
  SharedDirectory make_directory(const SharedDirectory& parent, const std::string& name, const std::string& shown);
  // Everything in a tree into an empty directory; `shown` names the directory in errors.
  void add_tree(SharedDirectory directory, const Hash& tree, const std::string& shown);
  // Files and links that are not there yet.
  void add_file(const SharedDirectory& directory, TreeEntry entry, const std::string& shown);
  // Returns when all is written. Throws what stood in the way, naming the file; so may each add_….
  Written finish();

 private:
  struct Job {
    SharedDirectory directory{};
    std::string shown{};  // of the directory
    std::vector<TreeEntry> entries{};
    std::int64_t bytes = 0;
  };
  void flush();  // what add_file has gathered becomes a job
  void hand_out(Job job);
  void help(const std::stop_token& stop);
  bool run_one();
  void run(const Job& job);
  void write_file(const Job& job, const TreeEntry& entry) const;
  void rethrow_failure();
  SharedDirectory fill(SharedDirectory directory, const Hash& tree, std::string& shown, int depth);

  const ContentReader& store_;
  bool chmod_ = false;
  Job gathered_;
  Written written_;  // the walking thread's: counted as things are added

  std::mutex mutex_;  // guards what follows, down to the blank line
  std::condition_variable_any changed_;
  std::deque<Job> jobs_;
  std::exception_ptr failure_;
  bool helper_busy_ = false;

  std::int64_t backlog_files_ = 0;  // the walking thread's
  std::int64_t backlog_bytes_ = 0;
  std::jthread helper_;  // last: joined first
};

}  // namespace runner::snapshot
