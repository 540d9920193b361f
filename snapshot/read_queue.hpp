// Files waiting to be read into the store, by two threads when there are enough of them: the walking thread adds, a
// helper
// ("snapshot-reader") starts with the first large backlog, and the walking thread lends a hand when the queue is full
// and at the end.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runner/os/fd.hpp"
#include "snapshot/file_reader.hpp"

namespace runner::snapshot {

// One file of the tree being built. While it is queued only its reader touches the fields below `stamp`.
struct TreeFile {
  std::string name;
  FileStamp stamp;
  EntryType type = EntryType::kFile;
  Hash content;
  bool settled = false;
};

// Some files of one directory; the vector that they point into must not move before `finish`.
struct ReadJob {
  std::shared_ptr<const os::Fd> directory;
  std::string path;  // of the directory: "" or "a/b/"
  std::vector<TreeFile*> files;
  std::int64_t bytes = 0;
};

class ReadQueue {
 public:
  explicit ReadQueue(ContentBatch& batch);
  ~ReadQueue();

  void add(ReadJob job);              // of the walking thread; throws what a reader threw
  std::vector<std::string> finish();  // waits for all; the paths that may not be read; throws what a reader threw

 private:
  void help(const std::stop_token& stop);  // the helper's loop
  bool run_one();                          // false: nothing to do
  void run(FileReader& reader, const ReadJob& job);
  void start_helper_if_worthwhile(const ReadJob& job);
  void rethrow_failure();

  ContentBatch& batch_;
  FileReader own_reader_;  // the walking thread's
  std::mutex mutex_;       // guards what follows, down to the blank line
  std::condition_variable_any changed_;
  std::deque<ReadJob> jobs_;
  std::vector<std::string> unreadable_;
  std::exception_ptr failure_;
  bool helper_busy_ = false;

  std::size_t backlog_files_ = 0;  // the walking thread's; since the last time the queue was empty
  std::int64_t backlog_bytes_ = 0;
  std::jthread helper_;  // last: joined first
};

}  // namespace runner::snapshot
