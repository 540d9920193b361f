// Regular files of a hostile tree on their way into a content batch: what outputs.hpp and handed_over.hpp promise of
// them. Private to runner/collect. One thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "runner/collect/outputs.hpp"
#include "runner/os/fd.hpp"

namespace runner::collect {

// One name below `directory`, or several joined by slashes, following nothing and leaving neither the directory nor the
// file system.
os::Fd open_beneath(int directory, const char* name, int flags);
// A name as a notice shows it.
std::string shortened(const std::string& name);
// The names in a directory as text, each with its bytes: sorted by these, unique.
std::vector<std::pair<std::string, std::string>> as_texts(const std::vector<std::string>& sorted_names);

class Gatherer {
 public:
  struct Rules {
    bool unlocks = true;  // the tree is thrown away afterwards: what its owner may not read is made readable
    std::function<bool(const std::string& shown)> leaves_out{};  // of files
  };
  // `spent`: what the run's files have taken of its bounds before; kept up to date.
  Gatherer(ContentBatch& batch, const std::stop_token& stop, Bounds& spent) : Gatherer(batch, stop, spent, Rules{}) {}
  Gatherer(ContentBatch& batch, const std::stop_token& stop, Bounds& spent, Rules rules)
      : batch_(batch), stop_(stop), spent_(spent), rules_(std::move(rules)) {}

  void entry(int directory, const std::string& name, const std::string& shown, int depth);
  void below(os::Fd directory, const std::string& shown, int depth);  // its entries, shown as SHOWN/NAME
  void file(const os::Fd& fd, const std::string& shown, bool ours = false);
  std::vector<std::string> names_in(const os::Fd& directory, const std::string& shown);
  void notice(const std::string& shown, const std::string& what);
  bool stopped() const { return stop_.stop_requested(); }
  Collected take();

 private:
  os::Fd open_or_unlock(int directory, const char* name, int flags, mode_t missing);
  bool too_sparse(const os::Fd& fd, const struct ::stat& info, const std::string& shown);
  void keep(const std::string& shown, const ContentBatch::Stored& stored);

  ContentBatch& batch_;
  const std::stop_token stop_;
  Bounds& spent_;
  const Rules rules_;
  Collected collected_;
  std::map<std::pair<dev_t, ino_t>, ContentBatch::Stored> linked_;  // files of more than one name, each read once
  std::size_t entries_ = 0;
  std::size_t entry_bytes_ = 0;  // of their names, without the directories
  std::size_t more_notices_ = 0;
  std::size_t too_many_ = 0;
  std::size_t too_long_ = 0;
  std::string first_too_long_;
};

}  // namespace runner::collect
