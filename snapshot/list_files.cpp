#include <algorithm>
#include <mutex>
#include <utility>

#include "snapshot/snapshot.hpp"
#include "snapshot/walk.hpp"

namespace runner::snapshot {
namespace {

class Listing : public WalkVisitor {
 public:
  std::shared_ptr<WalkNode> directory(const WalkedDirectory& at, std::shared_ptr<WalkNode>,
                                      std::vector<std::string> files, std::size_t) override {
    for (std::string& name : files) name.insert(0, at.path);
    const std::lock_guard lock(mutex_);
    paths_.insert(paths_.end(), std::make_move_iterator(files.begin()), std::make_move_iterator(files.end()));
    return nullptr;
  }
  void left_out(const std::shared_ptr<WalkNode>&) override {}

  std::vector<std::string> take_sorted() {
    std::sort(paths_.begin(), paths_.end());
    return std::move(paths_);
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> paths_;
};

}  // namespace

std::vector<std::string> list_files(const Options& options) {
  Scope scope(options);
  Listing listing;
  WorkPool pool;
  walk(scope, listing, pool);
  throw_if_unreadable(scope.take_unreadable());
  return listing.take_sorted();
}

}  // namespace runner::snapshot
