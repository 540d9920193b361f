#include "runner/os/process_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <span>
#include <string_view>

#include "runner/os/fd.hpp"

namespace runner::os {
namespace {

// At most what there is room for; empty if it cannot be read.
std::string_view read_into(std::span<char> room, const std::string& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  std::size_t size = 0;
  while (fd && size < room.size()) {
    const ssize_t got = ::read(fd.get(), room.data() + size, room.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  return {room.data(), size};
}

template <class Number>
Number number_at(std::string_view& text, int base = 10) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// What stands behind "Key:" at the beginning of a line; empty if it does not.
std::string_view line_of(std::string_view text, std::string_view key) {
  for (auto at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1))
    if (at == 0 || text[at - 1] == '\n') {
      const auto rest = text.substr(at + key.size());
      return rest.substr(0, rest.find('\n'));
    }
  return {};
}

std::string directory_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

class Walk {
 public:
  Walk(pid_t root, std::size_t most_files) : files_left_(most_files) {
    if (auto facts = read_process(root)) tree_.processes.push_back(std::move(*facts));
    for (std::size_t i = 0; i < tree_.processes.size() && files_left_ > 0; ++i)
      add_children(tree_.processes[i].pid, tree_.processes[i].threads);
  }
  ProcessTree tree() && {
    if (files_left_ == 0) tree_.complete = false;
    return std::move(tree_);
  }

 private:
  bool may_open() {
    if (files_left_ == 0) tree_.complete = false;
    return files_left_ > 0 && files_left_-- > 0;
  }

  // A child belongs to the thread that forked it.
  void add_children(pid_t pid, int threads) {
    const std::string tasks = directory_of(pid) + "/task/";
    if (threads <= 1) return add_children_of_thread(tasks + std::to_string(pid), pid);
    const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(tasks.c_str()));
    while (const dirent* entry = directory && files_left_ > 0 ? ::readdir(directory.get()) : nullptr)
      if (entry->d_name[0] != '.') add_children_of_thread(tasks + entry->d_name, pid);
  }

  void add_children_of_thread(const std::string& thread, pid_t parent) {
    if (!may_open()) return;
    std::string_view list = read_into(children_, thread + "/children");
    if (list.size() == children_.size()) tree_.complete = false;
    while (const auto pid = number_at<pid_t>(list)) {
      if (!may_open()) return;
      auto facts = read_process(pid);
      // Between the two looks the number may have passed to a stranger; one that lost its parent has the root for it.
      if (facts && (facts->parent == parent || facts->parent == tree_.processes.front().pid))
        tree_.processes.push_back(std::move(*facts));
    }
  }

  std::size_t files_left_;
  std::array<char, 16 << 10> children_{};  // bytes; two thousand of one thread
  ProcessTree tree_;
};

}  // namespace

std::optional<ProcessFacts> read_process(pid_t pid) {
  std::array<char, 1024> room;
  return parse_process(pid, read_into(room, directory_of(pid) + "/stat"));
}

std::optional<ProcessFacts> parse_process(pid_t pid, std::string_view text) {
  // The name in parentheses may itself hold blanks and parentheses: fields count from the last one.
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close + 2 >= text.size())
    return std::nullopt;
  ProcessFacts facts;
  facts.pid = pid;
  facts.name = text.substr(open + 1, close - open - 1);
  std::string_view rest = text.substr(close + 2);
  facts.state = rest.front();
  rest.remove_prefix(1);
  static const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  static const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  constexpr int kLast = 24;  // fields of proc(5) that are looked at
  for (int field = 4; field <= kLast; ++field) {
    const auto value = number_at<std::int64_t>(rest);
    switch (field) {
      case 4:
        facts.parent = static_cast<pid_t>(value);
        break;
      case 5:
        facts.group = static_cast<pid_t>(value);
        break;
      case 14:
      case 15:
        facts.cpu_seconds += static_cast<double>(value) / ticks;
        break;
      case 16:
      case 17:
        facts.reaped_cpu_seconds += static_cast<double>(value) / ticks;
        break;
      case 20:
        facts.threads = static_cast<int>(value);
        break;
      case 22:
        facts.start_ticks = static_cast<std::uint64_t>(value);
        break;
      case 24:
        facts.memory_bytes = value * page;
        break;
      default:
        break;
    }
  }
  return facts;
}

ProcessTree read_process_tree(pid_t root, std::size_t most_files) { return Walk(root, most_files).tree(); }

std::optional<ProcessIo> read_process_io(pid_t pid) {
  std::array<char, 512> room;
  const std::string_view text = read_into(room, directory_of(pid) + "/io");
  std::string_view read = line_of(text, "read_bytes:");
  std::string_view written = line_of(text, "write_bytes:");
  if (read.empty() || written.empty()) return std::nullopt;
  return ProcessIo{.read_bytes = number_at<std::int64_t>(read), .written_bytes = number_at<std::int64_t>(written)};
}

std::optional<ProcessStatus> read_process_status(pid_t pid) {
  std::array<char, 16384> room;
  return parse_process_status(pid, read_into(room, directory_of(pid) + "/status"));
}

std::optional<ProcessStatus> parse_process_status(pid_t pid, std::string_view text) {
  // The first line, Name:, is the process's own; the kernel escapes newlines in it.
  std::string_view caught = line_of(text, "SigCgt:");
  std::string_view ignored = line_of(text, "SigIgn:");
  std::string_view inner = line_of(text, "NSpid:");
  if (caught.empty() || ignored.empty()) return std::nullopt;
  ProcessStatus status{.inner_pid = pid,
                       .caught = number_at<std::uint64_t>(caught, 16),
                       .ignored = number_at<std::uint64_t>(ignored, 16)};
  while (const auto next = number_at<pid_t>(inner)) status.inner_pid = next;
  return status;
}

}  // namespace runner::os
