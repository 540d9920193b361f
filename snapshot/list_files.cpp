#include <algorithm>
#include <utility>

#include "snapshot/snapshot.hpp"
#include "snapshot/walk.hpp"

namespace runner::snapshot {
namespace {

class Listing : public WalkVisitor {
 public:
  void enter(const WalkedDirectory&) override {}
  void file(const WalkedDirectory& directory, const std::string& name, bool) override {
    paths.push_back(directory.path + name);
  }
  void files_done(const WalkedDirectory&) override {}
  void leave() override {}

  std::vector<std::string> paths;
};

}  // namespace

std::vector<std::string> list_files(const Options& options) {
  Scope scope(options);
  Listing listing;
  walk(scope, listing);
  throw_if_unreadable(std::move(scope.unreadable));
  std::sort(listing.paths.begin(), listing.paths.end());
  return std::move(listing.paths);
}

}  // namespace runner::snapshot
