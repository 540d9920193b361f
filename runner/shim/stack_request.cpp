#include "runner/shim/stack_request.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/os/clock.hpp"
#include "runner/os/process.hpp"

namespace runner::shim {
namespace {

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

// Its pidfd, if it was there to be sent it.
std::optional<os::Fd> send(const os::ProcessFacts& process, int signal) {
  const os::ProcessIdentity identity{.pid = process.pid, .start_ticks = process.start_ticks, .boot_id = os::boot_id()};
  auto pidfd = os::open_process(identity);
  if (pidfd && !os::signal_process(*pidfd, signal)) pidfd.reset();
  return pidfd;
}

struct Member {
  os::ProcessFacts process;
  bool prints = false;       // a stack, at SIGABRT
  bool dies_silent = false;  // of SIGTERM
};

Member member_of(const os::ProcessFacts& process) {
  Member member{.process = process};
  if (process.state == 'Z' || !is_python(process)) return member;
  const auto status = os::read_process_status(process.pid);
  if (!status) return member;
  member.prints = holds(status->caught, SIGABRT);
  member.dies_silent = !holds(status->caught, SIGTERM) && !holds(status->ignored, SIGTERM);
  return member;
}

// Nothing if there is no such group, or more of it than can be looked through.
std::vector<Member> members_of(const os::ProcessTree& tree, pid_t script) {
  if (!tree.complete || tree.processes.empty()) return {};
  const pid_t init = tree.processes.front().pid;
  pid_t group = 0;
  for (const os::ProcessFacts& process : tree.processes)
    if (group == 0 && process.parent == init && process.group == process.pid)
      if (const auto status = os::read_process_status(process.pid); status && status->inner_pid == script)
        group = process.pid;
  std::vector<Member> members;
  for (const os::ProcessFacts& process : tree.processes) {
    if (group == 0 || process.group != group) continue;
    if (members.size() == kMostMembers) return {};
    members.push_back(member_of(process));
  }
  return members;
}

}  // namespace

StackAnswer ask_for_stacks(const os::ProcessTree& tree, pid_t script, StackRequest request) {
  const bool last = request == StackRequest::kAtLast;
  const auto wanted = [&](const Member& member) { return member.prints && (last || member.dies_silent); };
  auto members = members_of(tree, script);
  StackAnswer answer{.asked = std::any_of(members.begin(), members.end(), wanted),
                     .possible = std::any_of(members.begin(), members.end(), [](const Member& m) { return m.prints; })};
  if (!answer.asked) return answer;
  std::set<std::pair<pid_t, std::uint64_t>> told;
  for (int look = 1;; ++look) {
    bool news = false;
    for (const Member& member : members) {
      if (!told.insert({member.process.pid, member.process.start_ticks}).second) continue;
      news = true;
      if (wanted(member)) {
        if (auto asked = send(member.process, SIGABRT)) answer.printing.push_back(std::move(*asked));
      } else if (!last) {
        send(member.process, SIGSTOP);
      }
    }
    if (last || !news || look == kLooks) return answer;
    members = members_of(os::read_process_tree(tree.processes.front().pid, os::kMostFilesOfLook), script);
  }
}

bool any_lives(const std::vector<os::Fd>& pidfds) {
  return std::any_of(pidfds.begin(), pidfds.end(), [](const os::Fd& pidfd) {
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ended, 1, 0) == 0;
  });
}

bool end_politely(const os::ProcessTree& tree, pid_t script) {
  const auto members = members_of(tree, script);
  for (const Member& member : members) {
    send(member.process, SIGTERM);
    send(member.process, SIGCONT);
  }
  return !members.empty();
}

}  // namespace runner::shim
