// A repository that somebody else made: its index, and the files that say what it is.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "git/git_state.hpp"
#include "git/large_file_pointer.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/git_files.hpp"
#include "runner/os/git_index.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void read_index(std::string_view bytes) {
  fuzz::accepts([&] {
    const os::GitIndex index = os::GitIndex::parse(std::string(bytes));
    std::size_t seen = 0;
    for (const os::GitIndexEntry& entry : index.entries()) {
      fuzz::require(!entry.path.empty() && entry.path.front() != '/', "a path is within the work tree", entry.path);
      const auto range = index.below(entry.path.substr(0, entry.path.rfind('/') + 1));
      fuzz::require(range.first <= range.last && range.last <= index.entries().size(), "a range is one");
      if (++seen == 100) break;
    }
    for (const os::GitCachedTree& tree : index.cached_trees())
      fuzz::require(tree.next <= index.cached_trees().size(), "a subtree ends within the tree");
  });
}

// A small repository with a commit and a change; one of its files is the input.
class Repository {
 public:
  Repository() {
    scratch_.write("tracked.txt", "one\ntwo\n");
    const std::string git = "git -C '" + scratch_.path().string() + "' -c user.name=n -c user.email=e ";
    if (std::system((git + "init -q -b main && " + git + "add -A && " + git + "commit -q -m first && " + git +
                     "remote add origin https://host/x.git")
                        .c_str()) != 0)
      std::abort();
    scratch_.write("tracked.txt", "one\n2\n");
  }

  void read_with(const std::string& name, std::string_view content) {
    const auto file = scratch_.path() / name;
    const bool was = std::filesystem::exists(file);
    const std::string before = was ? os::read_file(file) : std::string();
    scratch_.write(name, content);
    os::inspect_git_files(scratch_.path() / ".git");
    std::vector<std::string> notes;
    fuzz::accepts([&] { git::read_source(scratch_.path(), notes, {}, 1 << 16); });
    if (was)
      scratch_.write(name, before);
    else
      std::filesystem::remove(file);
  }

 private:
  fuzz::ScratchDirectory scratch_;
};

void read_pointer(std::string_view text) {
  static const fuzz::ScratchDirectory scratch;
  const auto file = scratch.write("pointer", text);
  const os::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const auto pointer = git::large_file_pointer(fd.get(), static_cast<off_t>(text.size()));
  fuzz::require(pointer && (text.empty() || !pointer->empty()), "every file has a pointer", text);
}

}  // namespace

// What libgit2 1.5 loses itself when it opens a repository of format 1 (git/README.md).
extern "C" const char* __lsan_default_suppressions();
const char* __lsan_default_suppressions() { return "leak:libpcre2-8.so"; }

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Repository repository;
  fuzz::Input input(data, size);
  switch (input.choose(8)) {
    case 0:
    case 1:
      read_index(input.rest());
      break;
    case 2:
      read_pointer(input.rest());
      break;
    case 3:
      repository.read_with(".git/index", input.rest());
      break;
    case 4:
      repository.read_with(".git/config", input.rest());
      break;
    case 5:
      repository.read_with(".git/HEAD", input.rest());
      break;
    case 6:
      repository.read_with(".git/packed-refs", input.rest());
      break;
    default:
      repository.read_with(".gitmodules", input.rest());
  }
  return 0;
}
