#include "runner/shim/stack_request.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <vector>

#include "runner/os/clock.hpp"
#include "runner/os/process.hpp"

namespace runner::shim {
namespace {

constexpr std::size_t kMostFiles = 1024;  // of one look: 10 ms at the very most
constexpr std::size_t kMostMembers = 256;
constexpr int kLooks = 3;  // for members that were forked meanwhile

bool holds(std::uint64_t set, int signal) { return (set >> (signal - 1) & 1) != 0; }

// The program, not what it calls itself.
bool is_python(const os::ProcessFacts& process) {
  std::array<char, 4096> target{};
  const std::string link = "/proc/" + std::to_string(process.pid) + "/exe";
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  std::string_view program = size > 0 ? std::string_view(target.data(), static_cast<std::size_t>(size)) : process.name;
  program.remove_prefix(program.rfind('/') + 1);
  return program.starts_with("python") || program.starts_with("pypy");
}

bool prints_a_stack(const os::ProcessFacts& process, const os::ProcessStatus& status, StackRequest request) {
  if (process.state == 'Z' || !holds(status.caught, SIGABRT) || !is_python(process)) return false;
  const bool default_end = !holds(status.caught, SIGTERM) && !holds(status.ignored, SIGTERM);
  return request == StackRequest::kAtLast || default_end;
}

void send(const os::ProcessFacts& process, int signal) {
  const os::ProcessIdentity identity{.pid = process.pid, .start_ticks = process.start_ticks, .boot_id = os::boot_id()};
  if (const auto pidfd = os::open_process(identity)) os::signal_process(*pidfd, signal);
}

struct Member {
  os::ProcessFacts process;
  bool python = false;
};

// Nothing if there is no such group, or more of it than can be looked through.
std::vector<Member> members_of(pid_t init, pid_t script, StackRequest request) {
  const os::ProcessTree tree = os::read_process_tree(init, kMostFiles);
  if (!tree.complete) return {};
  pid_t group = 0;
  for (const os::ProcessFacts& process : tree.processes)
    if (process.parent == init && process.group == process.pid)
      if (const auto status = os::read_process_status(process.pid); status && status->inner_pid == script)
        group = process.pid;
  std::vector<Member> members;
  for (const os::ProcessFacts& process : tree.processes) {
    if (group == 0 || process.group != group) continue;
    if (members.size() == kMostMembers) return {};
    const auto status = os::read_process_status(process.pid);
    members.push_back({process, status && prints_a_stack(process, *status, request)});
  }
  return members;
}

}  // namespace

bool ask_for_stacks(pid_t init, pid_t script, StackRequest request) {
  if (init <= 0 || script <= 0) return false;
  std::set<std::pair<pid_t, std::uint64_t>> told;
  for (int look = 0; look < kLooks; ++look) {
    const auto members = members_of(init, script, request);
    const bool any = std::any_of(members.begin(), members.end(), [](const Member& member) { return member.python; });
    if (look == 0 && !any) return false;
    bool news = false;
    for (const Member& member : members) {
      if (!told.insert({member.process.pid, member.process.start_ticks}).second) continue;
      news = true;
      if (member.python)
        send(member.process, SIGABRT);
      else if (request == StackRequest::kPolitely)
        send(member.process, SIGTERM);
    }
    if (!news || request == StackRequest::kAtLast) break;
  }
  return true;
}

}  // namespace runner::shim
