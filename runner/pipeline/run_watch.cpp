#include "runner/pipeline/run_watch.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/guarded.hpp"
#include "runner/os/process.hpp"

namespace runner::pipeline {
namespace {

// What tells that something has changed in a directory without a watch.
struct Marks {
  std::int64_t started = 0;  // modification time of start.json, nanoseconds; it is written anew with every pause
  off_t log = 0;             // bytes
  off_t journal = 0;         // bytes
};

struct Watched {
  int root_watch = -1;
  int io_watch = -1;
  std::optional<os::RunDirectory> unwatched;  // looked at from time to time instead
  Marks marks{};
  os::Fd shim;
  bool ended_reported = false;
};

struct Place {
  std::string id;
  bool io = false;  // the io/ subdirectory, else the run directory
};

// A script that prints without end would wake this thread, and everybody who waits for its run, at every piece: after
// so many in a row that came closer than kClose to each other it looks again only after kRest.
constexpr int kMostInARow = 16;
constexpr std::chrono::milliseconds kRest{4};
constexpr std::chrono::milliseconds kClose{6};

// Between two looks into directories that the kernel does not watch for us.
constexpr std::chrono::milliseconds kLook{250};

Marks marks_of(const os::RunDirectory& directory) {
  Marks marks;
  struct ::stat info {};
  if (::stat(directory.started().c_str(), &info) == 0)
    marks.started = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
  if (::stat(directory.log().c_str(), &info) == 0) marks.log = info.st_size;
  if (::lstat(directory.journal().c_str(), &info) == 0) marks.journal = info.st_size;
  return marks;
}

enum class Happening { kStarted, kLogGrew, kJournalGrew, kEnded };

struct Tables {
  std::unordered_map<std::string, Watched> runs;
  std::unordered_map<int, Place> places;                         // inotify watch → directory
  std::unordered_map<int, std::string> shims;                    // pidfd → run
  std::unordered_map<int, os::Fd> leaving;                       // shims whose run is done with, until they are reaped
  std::multimap<std::chrono::nanoseconds, std::string> retries;  // CLOCK_MONOTONIC
};

}  // namespace

class RunWatch::Impl {
 public:
  explicit Impl(RunObserver observer) : observer_(std::move(observer)) {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_ || !wake_) throw Error(ErrorCode::kUnavailable, "watch runs: no descriptor left");
    inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_) enlist(inotify_.get());
    enlist(wake_.get());
    thread_ = std::jthread([this](const std::stop_token& stop) { loop(stop); });
    ::pthread_setname_np(thread_.native_handle(), "run-watch");
  }

  ~Impl() { stop(); }

  void stop() {
    thread_.request_stop();
    wake();
    if (thread_.joinable()) thread_.join();
  }

  void add(const std::string& id, const os::RunDirectory& directory) {
    if (::access(directory.root().c_str(), F_OK) != 0) throw errno_error(errno, "watch " + directory.root().string());
    const int root = watch(directory.root(), IN_MOVED_TO | IN_MODIFY);
    const int io = watch(directory.io(), IN_MODIFY | IN_DONT_FOLLOW);
    tables_.with([&](Tables& tables) {
      Watched& watched = tables.runs[id];
      watched.root_watch = root;
      watched.io_watch = io;
      if (root < 0 || io < 0) watched.unwatched = directory;
      if (root >= 0) tables.places[root] = Place{id, false};
      if (io >= 0) tables.places[io] = Place{id, true};
    });
    // What happened before the watch existed is looked for once, on the watch thread.
    with_pending([&](auto& pending) { pending.emplace_back(id, directory); });
  }

  void set_shim(const std::string& id, os::Fd pidfd) {
    const int fd = pidfd.get();
    const bool known = tables_.with([&](Tables& tables) {
      const auto run = tables.runs.find(id);
      if (run == tables.runs.end()) return false;
      run->second.shim = std::move(pidfd);
      run->second.ended_reported = false;
      tables.shims[fd] = id;
      return true;
    });
    if (known) enlist(fd);
  }

  bool signal_shim(const std::string& id, int signal) {
    return tables_.with([&](Tables& tables) {
      const auto run = tables.runs.find(id);
      return run != tables.runs.end() && run->second.shim && os::signal_process(run->second.shim, signal);
    });
  }

  void remove(const std::string& id) {
    tables_.with([&](Tables& tables) {
      const auto run = tables.runs.find(id);
      if (run == tables.runs.end()) return;
      for (const int watch : {run->second.root_watch, run->second.io_watch}) {
        if (watch < 0) continue;
        ::inotify_rm_watch(inotify_.get(), watch);
        tables.places.erase(watch);
      }
      if (run->second.shim) {
        // It has published the end and is about to go: still listed in epoll, reaped when it does.
        const int fd = run->second.shim.get();
        tables.shims.erase(fd);
        tables.leaving.emplace(fd, std::move(run->second.shim));
      }
      tables.runs.erase(run);
    });
  }

  void retry_ended(const std::string& id, std::chrono::milliseconds pause) {
    tables_.with([&](Tables& tables) { tables.retries.emplace(os::monotonic_now() + pause, id); });
    wake();
  }

 private:
  // The watch, or -1: a script can take all watches, and all instances, that its user may have.
  int watch(const std::filesystem::path& directory, std::uint32_t events) const {
    return inotify_ ? ::inotify_add_watch(inotify_.get(), directory.c_str(), events | IN_ONLYDIR) : -1;
  }

  void enlist(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void wake() {
    constexpr std::uint64_t kOne = 1;
    [[maybe_unused]] const ssize_t wrote = ::write(wake_.get(), &kOne, sizeof kOne);
  }

  template <class Use>
  void with_pending(Use&& use) {
    pending_.with(use);
    wake();
  }

  // Our own child leaves a zombie until it is waited for; a shim adopted after a restart is another process's to reap.
  static void reap(const os::Fd& pidfd) {
    siginfo_t info{};
    ::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG);
  }

  void loop(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::array<epoll_event, 64> events{};
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout());
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == inotify_.get())
          read_inotify();
        else if (fd == wake_.get())
          read_wake();
        else
          shim_gone(fd);
      }
      look_at_unwatched();
      report_due();
      if (resting_ && os::monotonic_now() >= rested_at_) listen_to_files(true);
    }
  }

  void listen_to_files(bool listen) {
    epoll_event event{};
    event.events = listen ? std::uint32_t{EPOLLIN} : 0;
    event.data.fd = inotify_.get();
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, inotify_.get(), &event);
    resting_ = !listen;
  }

  // The ends of runs are heard meanwhile: their shims' descriptors are others.
  void rest_from_logs() {
    const auto now = os::monotonic_now();
    log_events_ = now - last_log_event_ < kClose ? log_events_ + 1 : 0;
    last_log_event_ = now;
    if (log_events_ < kMostInARow) return;
    rested_at_ = now + kRest;
    listen_to_files(false);
  }

  int timeout() {
    std::optional<std::chrono::nanoseconds> due;
    if (!journals_.empty()) due = journals_due_;
    if (resting_ && (!due || rested_at_ < *due)) due = rested_at_;
    tables_.with([&](Tables& tables) {
      const bool unwatched = std::any_of(tables.runs.begin(), tables.runs.end(),
                                         [](const auto& run) { return run.second.unwatched.has_value(); });
      if (unwatched && (!due || looked_at_ + kLook < *due)) due = looked_at_ + kLook;
      if (!tables.retries.empty() && (!due || tables.retries.begin()->first < *due))
        due = tables.retries.begin()->first;
    });
    if (!due) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - os::monotonic_now()).count();
    return static_cast<int>(std::max<std::int64_t>(0, left));
  }

  void read_wake() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
    std::vector<std::pair<std::string, os::RunDirectory>> looked;
    pending_.with([&](auto& pending) { looked.swap(pending); });
    for (const auto& [id, directory] : looked) {
      if (::access(directory.started().c_str(), F_OK) == 0) happened(id, Happening::kStarted);
      if (::access(directory.ended().c_str(), F_OK) == 0) happened(id, Happening::kEnded);
      happened(id, Happening::kLogGrew);
      happened(id, Happening::kJournalGrew);
    }
  }

  void look_at_unwatched() {
    const auto now = os::monotonic_now();
    if (now < looked_at_ + kLook) return;
    looked_at_ = now;
    std::vector<std::pair<std::string, os::RunDirectory>> runs;
    tables_.with([&](Tables& tables) {
      for (const auto& [id, watched] : tables.runs)
        if (watched.unwatched) runs.emplace_back(id, *watched.unwatched);
    });
    for (const auto& [id, directory] : runs) {
      const Marks marks = marks_of(directory);
      // By another name: clang captures structured bindings from version 16 on.
      const auto before = tables_.with([&, &run_id = id](Tables& tables) -> std::optional<Marks> {
        const auto run = tables.runs.find(run_id);
        return run == tables.runs.end() ? std::nullopt : std::optional(std::exchange(run->second.marks, marks));
      });
      if (!before) continue;
      if (marks.started != before->started) happened(id, Happening::kStarted);
      if (marks.log != before->log) happened(id, Happening::kLogGrew);
      if (marks.journal != before->journal) happened(id, Happening::kJournalGrew);
      if (::access(directory.ended().c_str(), F_OK) == 0) happened(id, Happening::kEnded);
    }
  }

  void read_inotify() {
    alignas(inotify_event) std::array<char, 16384> buffer;
    log_grew_ = false;
    for (;;) {
      const ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        if ((event->mask & IN_Q_OVERFLOW) != 0) look_at_everything();
        if (event->len > 0) interpret(event->wd, event->name);
      }
    }
    if (log_grew_) rest_from_logs();
  }

  void interpret(int watch, std::string_view name) {
    const auto place = tables_.with([&](Tables& tables) -> std::optional<Place> {
      const auto found = tables.places.find(watch);
      return found == tables.places.end() ? std::nullopt : std::optional(found->second);
    });
    if (!place) return;
    if (place->io) {
      if (name == "metrics.jsonseq") happened(place->id, Happening::kJournalGrew);
      return;
    }
    if (name == "std_log.txt") {
      log_grew_ = true;
      happened(place->id, Happening::kLogGrew);
    }
    if (name == "start.json") happened(place->id, Happening::kStarted);
    if (name == "exit.json") happened(place->id, Happening::kEnded);
  }

  // The queue of events overflowed: something was missed, so every run is told everything.
  void look_at_everything() {
    std::vector<std::string> ids;
    tables_.with([&](Tables& tables) {
      for (const auto& [id, watched] : tables.runs) ids.push_back(id);
    });
    for (const std::string& id : ids)
      for (const Happening what : {Happening::kStarted, Happening::kLogGrew, Happening::kJournalGrew})
        happened(id, what);
  }

  void shim_gone(int fd) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    const auto id = tables_.with([&](Tables& tables) -> std::optional<std::string> {
      if (const auto leaving = tables.leaving.find(fd); leaving != tables.leaving.end()) {
        reap(leaving->second);
        tables.leaving.erase(leaving);
        return std::nullopt;
      }
      const auto found = tables.shims.find(fd);
      if (found == tables.shims.end()) return std::nullopt;
      const std::string run = found->second;
      tables.shims.erase(found);
      reap(tables.runs[run].shim);
      tables.runs[run].shim.reset();
      return run;
    });
    if (id) happened(*id, Happening::kEnded);
  }

  void happened(const std::string& id, Happening what) {
    switch (what) {
      case Happening::kStarted:
        observer_.started(id);
        break;
      case Happening::kLogGrew:
        observer_.log_grew(id);
        break;
      case Happening::kJournalGrew:
        if (journals_.empty()) journals_due_ = os::monotonic_now() + kJournalPause;
        journals_.insert(id);
        break;
      case Happening::kEnded:
        if (first_report_of_end(id)) observer_.ended(id);
        break;
    }
  }

  bool first_report_of_end(const std::string& id) {
    return tables_.with([&](Tables& tables) {
      const auto run = tables.runs.find(id);
      return run != tables.runs.end() && !std::exchange(run->second.ended_reported, true);
    });
  }

  void report_due() {
    const auto now = os::monotonic_now();
    if (!journals_.empty() && journals_due_ <= now) {
      for (const std::string& id : std::exchange(journals_, {})) observer_.journal_grew(id);
    }
    std::vector<std::string> retries;
    tables_.with([&](Tables& tables) {
      while (!tables.retries.empty() && tables.retries.begin()->first <= now) {
        retries.push_back(tables.retries.begin()->second);
        tables.retries.erase(tables.retries.begin());
      }
    });
    for (const std::string& id : retries) observer_.ended(id);
  }

  const RunObserver observer_;
  os::Fd inotify_;
  os::Fd epoll_;
  os::Fd wake_;
  os::Guarded<Tables> tables_;
  os::Guarded<std::vector<std::pair<std::string, os::RunDirectory>>> pending_;
  bool log_grew_ = false;  // among the events of one look; this and what follows: watch thread only
  int log_events_ = 0;     // looks in a row that found it so
  std::chrono::nanoseconds last_log_event_{};
  bool resting_ = false;
  std::chrono::nanoseconds rested_at_{};
  std::chrono::nanoseconds looked_at_{};
  std::set<std::string> journals_;
  std::chrono::nanoseconds journals_due_{};
  std::jthread thread_;  // last: it uses everything above
};

RunWatch::RunWatch(RunObserver observer) : impl_(std::make_unique<Impl>(std::move(observer))) {}
RunWatch::~RunWatch() = default;
void RunWatch::stop() { impl_->stop(); }
void RunWatch::add(const std::string& id, const os::RunDirectory& directory) { impl_->add(id, directory); }
void RunWatch::set_shim(const std::string& id, os::Fd pidfd) { impl_->set_shim(id, std::move(pidfd)); }
bool RunWatch::signal_shim(const std::string& id, int signal) { return impl_->signal_shim(id, signal); }
void RunWatch::remove(const std::string& id) { impl_->remove(id); }
void RunWatch::retry_ended(const std::string& id, std::chrono::milliseconds pause) { impl_->retry_ended(id, pause); }

}  // namespace runner::pipeline
