// A library for LD_PRELOAD: stands between runnerd and libc, and makes the Nth call that changes a file kill the
// daemon, stop it or fail; shifts its clocks. control.hpp is what a test writes; docs/decisions/fault-injection.md says
// why so.
//
// Every call goes on as the raw system call: nothing has to be looked up, so it works before main, too. Calls that libc
// makes inside itself (stdio, hence the daemon's own log) do not pass here.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/faults/control.hpp"

namespace {

using faults::Action;
using faults::Control;
using faults::Kind;

Control* control = nullptr;
int trace = -1;

__attribute__((constructor)) void attach() {
  ::unsetenv("LD_PRELOAD");  // what the daemon starts goes without
  const char* path = std::getenv("RUNNER_FAULTS");
  if (!path) return;
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) std::abort();  // a test that would test nothing
  void* memory = ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) std::abort();
  auto* mapped = static_cast<Control*>(memory);
  if (mapped->magic != faults::kMagic) std::abort();
  char trace_path[PATH_MAX];
  std::snprintf(trace_path, sizeof trace_path, "%s.trace", path);
  trace = ::open(trace_path, O_WRONLY | O_APPEND | O_CLOEXEC);
  ::unsetenv("RUNNER_FAULTS");
  control = mapped;
}

bool is_armed(Kind kind) { return control && (control->kinds & kind) != 0; }

struct Path {
  char text[2 * PATH_MAX + 8] = "";

  explicit Path(int fd) { append_link(fd); }
  Path(int directory, const char* name) {
    if (name[0] != '/' && directory != AT_FDCWD) {
      append_link(directory);
      const std::size_t length = std::strlen(text);
      text[length] = '/';
      text[length + 1] = '\0';
    }
    std::strncat(text, name, PATH_MAX - 1);
  }

 private:
  void append_link(int fd) {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const auto got = ::syscall(SYS_readlinkat, AT_FDCWD, link, text, PATH_MAX - 1);
    text[got > 0 ? got : 0] = '\0';
  }
};

bool is_regular(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

[[noreturn]] void die() {
  ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGKILL);
  for (;;) ::syscall(SYS_pause);
}

// What is to become of this call.
Action judge(const char* call, const Path& path) {
  if (control->path[0] && !std::strstr(path.text, control->path)) return Action::kNone;
  const auto number = control->count.fetch_add(1) + 1;
  if (trace >= 0) {
    char line[sizeof path.text + 64];
    const int length =
        std::snprintf(line, sizeof line, "%lld %s %s\n", static_cast<long long>(number), call, path.text);
    ::syscall(SYS_write, trace, line, static_cast<std::size_t>(length));
  }
  if (number < control->first || number > control->last) return Action::kNone;
  if (control->action == Action::kNone) return Action::kNone;
  if (control->fired.fetch_add(1) == 0)
    std::snprintf(control->fired_at, sizeof control->fired_at, "%s %s", call, path.text);
  return control->action;
}

// Around one call. `proceed` is the call itself; `half`, of writes, does half of it.
template <typename Proceed, typename Half>
long around(const char* call, const Path& path, Proceed proceed, Half half) {
  switch (judge(call, path)) {
    case Action::kKillBefore:
      die();
    case Action::kKillAfter:
      proceed();
      die();
    case Action::kKillHalfWay:
      half();
      die();
    case Action::kFail:
      errno = static_cast<int>(control->error);
      return -1;
    case Action::kFailHalfWay:
      return half();
    case Action::kStop:
      ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGSTOP);
      return proceed();
    case Action::kNone:
      break;
  }
  return proceed();
}

template <typename Proceed>
long around(const char* call, const Path& path, Proceed proceed) {
  return around(call, path, proceed, proceed);
}

std::size_t half_of(std::size_t bytes) { return bytes > 1 ? bytes / 2 : bytes; }

template <typename Write>
long around_write(const char* call, int fd, std::size_t bytes, Write write) {
  if (!is_armed(Kind::kWrite) || !is_regular(fd)) return write(bytes);
  return around(
      call, Path(fd), [&] { return write(bytes); }, [&] { return write(half_of(bytes)); });
}

bool creates(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int open_at(int directory, const char* name, int flags, mode_t mode) {
  const auto proceed = [&] { return ::syscall(SYS_openat, directory, name, flags, mode); };
  if (!creates(flags) || !is_armed(Kind::kOpen)) return static_cast<int>(proceed());
  return static_cast<int>(around("open", Path(directory, name), proceed));
}

mode_t mode_of(int flags, va_list& arguments) { return creates(flags) ? va_arg(arguments, mode_t) : 0; }

template <typename Proceed>
int around_name(Kind kind, const char* call, int directory, const char* name, Proceed proceed) {
  if (!is_armed(kind)) return static_cast<int>(proceed());
  return static_cast<int>(around(call, Path(directory, name), proceed));
}

template <typename Proceed>
int around_file(Kind kind, const char* call, int fd, Proceed proceed) {
  if (!is_armed(kind)) return static_cast<int>(proceed());
  return static_cast<int>(around(call, Path(fd), proceed));
}

bool is_socket(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

void shift(timespec& time, std::int64_t nanoseconds) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t rest = time.tv_nsec + nanoseconds % kSecond;
  time.tv_sec += nanoseconds / kSecond;
  if (rest >= kSecond) {
    rest -= kSecond;
    ++time.tv_sec;
  } else if (rest < 0) {
    rest += kSecond;
    --time.tv_sec;
  }
  time.tv_nsec = rest;
}

int shifted_time(clockid_t clock, timespec* time) {
  const long done = ::syscall(SYS_clock_gettime, clock, time);
  if (done != 0 || !control) return static_cast<int>(done);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) shift(*time, control->wall_offset);
  if (clock == CLOCK_BOOTTIME) shift(*time, control->boot_offset);
  return 0;
}

using Spawn = int (*)(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[],
                      char* const[]);

int spawned(const char* name, pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
            const posix_spawnattr_t* attributes, char* const* arguments, char* const* environment) {
  const auto real = reinterpret_cast<Spawn>(::dlsym(RTLD_NEXT, name));
  const auto proceed = [&] { return static_cast<long>(real(pid, path, actions, attributes, arguments, environment)); };
  if (!is_armed(Kind::kSpawn)) return static_cast<int>(proceed());
  const long result = around("spawn", Path(AT_FDCWD, path), proceed);
  return result < 0 ? errno : static_cast<int>(result);  // posix_spawn returns the error
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, std::size_t bytes) {
  if (is_armed(Kind::kSend) && is_socket(fd))
    return around("send", Path(fd), [&] { return ::syscall(SYS_write, fd, data, bytes); });
  return around_write("write", fd, bytes, [&](std::size_t count) { return ::syscall(SYS_write, fd, data, count); });
}

ssize_t pwrite64(int fd, const void* data, std::size_t bytes, off64_t offset) {
  return around_write("pwrite", fd, bytes,
                      [&](std::size_t count) { return ::syscall(SYS_pwrite64, fd, data, count, offset); });
}
ssize_t pwrite(int fd, const void* data, std::size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

ssize_t writev(int fd, const iovec* parts, int count) {
  return around_write("writev", fd, static_cast<std::size_t>(count),
                      [&](std::size_t some) { return ::syscall(SYS_writev, fd, parts, some); });
}

ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return around_write("pwritev", fd, static_cast<std::size_t>(count),
                      [&](std::size_t some) { return ::syscall(SYS_pwritev, fd, parts, some, offset, 0L); });
}

ssize_t sendfile64(int out, int in, off64_t* offset, std::size_t bytes) {
  return around_write("sendfile", out, bytes,
                      [&](std::size_t count) { return ::syscall(SYS_sendfile, out, in, offset, count); });
}
ssize_t sendfile(int out, int in, off_t* offset, std::size_t bytes) { return sendfile64(out, in, offset, bytes); }

ssize_t copy_file_range(int in, off64_t* from, int out, off64_t* to, std::size_t bytes, unsigned flags) {
  return around_write("copy_file_range", out, bytes, [&](std::size_t count) {
    return ::syscall(SYS_copy_file_range, in, from, out, to, count, flags);
  });
}

ssize_t send(int fd, const void* data, std::size_t bytes, int flags) {
  const auto proceed = [&] { return ::syscall(SYS_sendto, fd, data, bytes, flags, nullptr, 0); };
  return is_armed(Kind::kSend) ? around("send", Path(fd), proceed) : proceed();
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const auto proceed = [&] { return ::syscall(SYS_sendmsg, fd, message, flags); };
  return is_armed(Kind::kSend) ? around("send", Path(fd), proceed) : proceed();
}

int fsync(int fd) {
  return around_file(Kind::kSync, "fsync", fd, [&] { return ::syscall(SYS_fsync, fd); });
}
int fdatasync(int fd) {
  return around_file(Kind::kSync, "fdatasync", fd, [&] { return ::syscall(SYS_fdatasync, fd); });
}
int syncfs(int fd) noexcept {
  return around_file(Kind::kSync, "syncfs", fd, [&] { return ::syscall(SYS_syncfs, fd); });
}

int ftruncate64(int fd, off64_t bytes) noexcept {
  return around_file(Kind::kTruncate, "ftruncate", fd, [&] { return ::syscall(SYS_ftruncate, fd, bytes); });
}
int ftruncate(int fd, off_t bytes) noexcept { return ftruncate64(fd, bytes); }
int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  return around_file(Kind::kTruncate, "fallocate", fd,
                     [&] { return ::syscall(SYS_fallocate, fd, mode, offset, bytes); });
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) { return fallocate64(fd, mode, offset, bytes); }

int renameat2(int from, const char* old_name, int to, const char* new_name, unsigned flags) noexcept {
  return around_name(Kind::kRename, "rename", to, new_name,
                     [&] { return ::syscall(SYS_renameat2, from, old_name, to, new_name, flags); });
}
int renameat(int from, const char* old_name, int to, const char* new_name) noexcept {
  return renameat2(from, old_name, to, new_name, 0);
}
int rename(const char* old_name, const char* new_name) noexcept {
  return renameat2(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

int linkat(int from, const char* old_name, int to, const char* new_name, int flags) noexcept {
  return around_name(Kind::kLink, "link", to, new_name,
                     [&] { return ::syscall(SYS_linkat, from, old_name, to, new_name, flags); });
}
int link(const char* old_name, const char* new_name) noexcept {
  return linkat(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}
int symlinkat(const char* target, int directory, const char* name) noexcept {
  return around_name(Kind::kLink, "symlink", directory, name,
                     [&] { return ::syscall(SYS_symlinkat, target, directory, name); });
}
int symlink(const char* target, const char* name) noexcept { return symlinkat(target, AT_FDCWD, name); }

int unlinkat(int directory, const char* name, int flags) noexcept {
  return around_name(Kind::kUnlink, "unlink", directory, name,
                     [&] { return ::syscall(SYS_unlinkat, directory, name, flags); });
}
int unlink(const char* name) noexcept { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char* name) noexcept { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int directory, const char* name, mode_t mode) noexcept {
  return around_name(Kind::kMake, "mkdir", directory, name,
                     [&] { return ::syscall(SYS_mkdirat, directory, name, mode); });
}
int mkdir(const char* name, mode_t mode) noexcept { return mkdirat(AT_FDCWD, name, mode); }
int mknodat(int directory, const char* name, mode_t mode, dev_t device) noexcept {
  return around_name(Kind::kMake, "mknod", directory, name,
                     [&] { return ::syscall(SYS_mknodat, directory, name, mode, device); });
}
int mknod(const char* name, mode_t mode, dev_t device) noexcept { return mknodat(AT_FDCWD, name, mode, device); }

int openat(int directory, const char* name, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(directory, name, flags, mode);
}
int openat64(int directory, const char* name, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(directory, name, flags, mode);
}
int open(const char* name, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(AT_FDCWD, name, flags, mode);
}
int open64(const char* name, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(AT_FDCWD, name, flags, mode);
}

int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawned("posix_spawn", pid, path, actions, attributes, arguments, environment);
}
int posix_spawnp(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                 const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawned("posix_spawnp", pid, path, actions, attributes, arguments, environment);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept { return shifted_time(clock, time); }

int gettimeofday(timeval* __restrict time, void* __restrict) noexcept {
  timespec now{};
  shifted_time(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

std::time_t time(std::time_t* result) noexcept {
  timespec now{};
  shifted_time(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
