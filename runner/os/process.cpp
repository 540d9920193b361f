#include "runner/os/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

namespace runner::os {
namespace {

Fd pidfd_open(pid_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

std::vector<char*> as_pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

struct SpawnActions {
  posix_spawn_file_actions_t value;
  SpawnActions() { ::posix_spawn_file_actions_init(&value); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&value); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
};

struct SpawnAttributes {
  posix_spawnattr_t value;
  SpawnAttributes() { ::posix_spawnattr_init(&value); }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&value); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
};

int reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  const auto stat = read_file_if_exists("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return std::nullopt;
  // The name in parentheses may itself hold blanks and parentheses: count fields from the last one.
  const auto name_end = stat->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::size_t at = name_end + 1;
  constexpr int kFieldsToStartTime = 20;  // field 22, where the field behind the name is field 3
  for (int field = 0; field < kFieldsToStartTime; ++field) {
    at = stat->find(' ', at);
    if (at == std::string::npos) return std::nullopt;
    ++at;
  }
  ProcessIdentity identity{.pid = pid, .start_ticks = 0, .boot_id = boot_id()};
  std::from_chars(stat->data() + at, stat->data() + stat->size(), identity.start_ticks);
  return identity;
}

ProcessIdentity identify_self() { return identify(::getpid()).value(); }

std::optional<Fd> open_process(const ProcessIdentity& identity) {
  if (identity.boot_id != boot_id()) return std::nullopt;
  Fd pidfd = pidfd_open(identity.pid);
  if (!pidfd) return std::nullopt;
  // Checked after the pidfd is held: from here on the number cannot change hands unnoticed.
  const auto now = identify(identity.pid);
  if (!now || now->start_ticks != identity.start_ticks) return std::nullopt;
  // A zombie still has its number and its start time, but it is gone.
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (::poll(&ended, 1, 0) > 0) return std::nullopt;
  return pidfd;
}

bool signal_process(const Fd& pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

Child spawn(const SpawnRequest& request) {
  SpawnActions actions;
  SpawnAttributes attributes;
  for (int standard = 0; standard <= 2; ++standard) {
    const bool listed = std::any_of(request.descriptors.begin(), request.descriptors.end(),
                                    [standard](const auto& pair) { return pair.second == standard; });
    if (!listed)
      ::posix_spawn_file_actions_addopen(&actions.value, standard, "/dev/null", standard == 0 ? O_RDONLY : O_WRONLY, 0);
  }
  // dup2 to the final numbers through a high range first, so that no pair overwrites another one's source.
  constexpr int kHigh = 200;
  int moved = kHigh;
  for (const auto& [ours, theirs] : request.descriptors)
    ::posix_spawn_file_actions_adddup2(&actions.value, ours, moved++);
  moved = kHigh;
  for (const auto& [ours, theirs] : request.descriptors) {
    ::posix_spawn_file_actions_adddup2(&actions.value, moved, theirs);
    ::posix_spawn_file_actions_addclose(&actions.value, moved++);
  }
  // What we were given ourselves without O_CLOEXEC (a shell's redirections) goes no further.
  int last = 2;
  for (const auto& [ours, theirs] : request.descriptors) last = std::max(last, theirs);
  ::posix_spawn_file_actions_addclosefrom_np(&actions.value, last + 1);
  if (!request.directory.empty()) ::posix_spawn_file_actions_addchdir_np(&actions.value, request.directory.c_str());

  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (request.new_session) flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes.value, &none);
  ::posix_spawnattr_setsigdefault(&attributes.value, &all);
  ::posix_spawnattr_setflags(&attributes.value, flags);

  const auto arguments = as_pointers(request.arguments);
  const auto environment = as_pointers(request.environment);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, arguments[0], &actions.value, &attributes.value, arguments.data(), environment.data());
  if (error != 0) throw errno_error(error, "start " + request.arguments.front(), ErrorCode::kUnavailable);
  return Child{.pid = pid, .pidfd = pidfd_open(pid)};
}

Captured capture(const SpawnRequest& request, std::chrono::milliseconds limit, std::size_t output_limit) {
  std::array<std::array<int, 2>, 2> pipes{};
  std::array<Fd, 2> reading;
  std::array<Fd, 2> writing;
  for (std::size_t i = 0; i < 2; ++i) {
    if (::pipe2(pipes[i].data(), O_CLOEXEC) != 0) throw errno_error(errno, "pipe");
    reading[i].reset(pipes[i][0]);
    writing[i].reset(pipes[i][1]);
  }
  SpawnRequest prepared = request;
  prepared.new_session = true;
  prepared.descriptors.emplace_back(writing[0].get(), 1);
  prepared.descriptors.emplace_back(writing[1].get(), 2);
  const Child child = spawn(prepared);
  for (Fd& fd : writing) fd.reset();

  Captured result{};
  const std::array<std::string*, 2> sinks{&result.out, &result.err};
  const auto deadline = monotonic_now() + limit;
  const auto give_up = [&](const std::string& why) {
    ::kill(-child.pid, SIGKILL);
    reap(child.pid);
    return Error(ErrorCode::kUnavailable, request.arguments.front() + ": " + why);
  };
  while (reading[0] || reading[1]) {
    std::array<pollfd, 2> polled{pollfd{reading[0].get(), POLLIN, 0}, pollfd{reading[1].get(), POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - monotonic_now());
    if (left.count() <= 0) throw give_up("no answer within " + std::to_string(limit.count()) + " ms");
    if (::poll(polled.data(), polled.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
      throw give_up("poll failed");
    for (std::size_t i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      std::array<char, 8192> buffer;
      const ssize_t got = ::read(reading[i].get(), buffer.data(), buffer.size());
      if (got > 0) sinks[i]->append(buffer.data(), static_cast<std::size_t>(got));
      if (got == 0) reading[i].reset();
      if (sinks[i]->size() > output_limit) throw give_up("wrote more than " + std::to_string(output_limit) + " bytes");
    }
  }
  result.exit_code = reap(child.pid);
  return result;
}

std::optional<std::filesystem::path> find_program(const std::string& name, const std::string& search_path) {
  std::size_t begin = 0;
  while (begin <= search_path.size()) {
    const auto end = std::min(search_path.find(':', begin), search_path.size());
    const std::filesystem::path directory = search_path.substr(begin, end - begin);
    begin = end + 1;
    if (!directory.is_absolute()) continue;  // "" and "." would pick programs out of an untrusted working directory
    const auto candidate = directory / name;
    if (::access(candidate.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(candidate)) return candidate;
  }
  return std::nullopt;
}

std::filesystem::path program_directory() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

std::filesystem::path python_package_directory() {
  return program_directory().parent_path() / "share" / "runner" / "python";
}

std::filesystem::path curated_environments_directory() {
  return program_directory().parent_path() / "share" / "runner" / "environments";
}

}  // namespace runner::os
