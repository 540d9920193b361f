#include "runner/shim/usage_sampler.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::shim {
namespace {

constexpr std::size_t kMostIo = 256;  // processes whose /proc/PID/io is read
constexpr std::size_t kMinute = 60;   // samples
constexpr std::chrono::milliseconds kForNames{30};

std::optional<std::int64_t> larger(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
  if (!a || !b) return a ? a : b;
  return std::max(*a, *b);
}

std::int64_t bytes_of(const os::ProcessTree& tree) {
  std::int64_t sum = 0;
  for (std::size_t i = 1; i < tree.processes.size(); ++i) sum += tree.processes[i].memory_bytes;  // init is ours
  return sum;
}

double cpu_of(const os::ProcessTree& tree) {
  double sum = 0;
  for (const os::ProcessFacts& process : tree.processes) sum += process.cpu_seconds + process.reaped_cpu_seconds;
  return sum;
}

std::optional<os::ProcessIo> io_of(const os::ProcessTree& tree) {
  std::optional<os::ProcessIo> sum;
  for (std::size_t i = 0; i < std::min(tree.processes.size(), kMostIo); ++i)
    if (const auto io = os::read_process_io(tree.processes[i].pid)) {
      if (!sum) sum.emplace();
      sum->read_bytes += io->read_bytes;
      sum->written_bytes += io->written_bytes;
    }
  return sum;
}

os::CgroupNow read_cgroups(const os::RunCgroups& cgroups) {
  try {
    return os::read_now(cgroups);
  } catch (const Error&) {
    return {};  // somebody else's, and gone
  }
}

}  // namespace

void UsageSampler::open() {
  timer_ = os::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) throw errno_error(errno, "timerfd");
}

void UsageSampler::set_timer(bool on) {
  itimerspec when{};
  if (on) when.it_value.tv_sec = when.it_interval.tv_sec = 1;
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void UsageSampler::start(pid_t init, const os::RunCgroups& cgroups) {
  init_ = init;
  cgroups_ = cgroups;
  started_ = true;
  last_.at = os::monotonic_now();
  running_since_ = last_.at;
  set_timer(true);
}

double UsageSampler::running_seconds() const {
  const auto now = running_since_ ? os::monotonic_now() - *running_since_ : std::chrono::nanoseconds{};
  return std::chrono::duration<double>(ran_before_ + now).count();
}

void UsageSampler::pause() {
  if (!running_since_) return;
  ran_before_ += os::monotonic_now() - *std::exchange(running_since_, std::nullopt);
  set_timer(false);
}

void UsageSampler::go_on() {
  if (!started_ || running_since_) return;
  running_since_ = last_.at = os::monotonic_now();
  set_timer(true);
}

void UsageSampler::stop() {
  if (!started_) return;
  pause();
  started_ = false;
  file_.finish();
  // What has ended since the last sample has left its bytes with init.
  if (const auto reading = read(init_ > 0 ? os::read_process_tree(init_, os::kMostFilesOfLook) : os::ProcessTree())) {
    totals_.set_bytes(larger(last_.read_bytes, reading->read_bytes),
                      larger(last_.written_bytes, reading->written_bytes));
    last_ = *reading;
  }
}

// Cgroups know more than a walk, which misses what comes and goes under it; but v1 counts no delayed writes.
std::optional<UsageSampler::Reading> UsageSampler::read(const os::ProcessTree& tree) {
  const os::CgroupNow now = read_cgroups(cgroups_);
  const bool seen = !tree.processes.empty();
  if (!seen && !(now.cpu_seconds && now.memory_bytes)) return std::nullopt;
  Reading reading;
  reading.at = os::monotonic_now();
  // Sums of a walk may shrink for a moment; what they stand for does not.
  reading.cpu_seconds = std::max(last_.cpu_seconds, now.cpu_seconds ? *now.cpu_seconds : cpu_of(tree));
  reading.memory_bytes = now.memory_bytes ? *now.memory_bytes : bytes_of(tree);
  const bool by_cgroup = cgroups_.version == 2 && now.read_bytes;
  const auto io = by_cgroup ? std::nullopt : io_of(tree);
  reading.read_bytes = larger(last_.read_bytes, io ? std::optional(io->read_bytes) : now.read_bytes);
  reading.written_bytes = larger(last_.written_bytes, io ? std::optional(io->written_bytes) : now.written_bytes);
  reading.processes = seen ? static_cast<std::int64_t>(tree.processes.size()) - 1 : now.tasks.value_or(0);
  if (!tree.complete && now.tasks) reading.processes = std::max(reading.processes, *now.tasks);
  return reading;
}

void UsageSampler::on_timer() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0 || !running_since_) return;
  const os::ProcessTree tree = init_ > 0 ? os::read_process_tree(init_, os::kMostFilesOfLook) : os::ProcessTree();
  const auto reading = read(tree);
  if (!reading) return;
  const double seconds = std::chrono::duration<double>(reading->at - last_.at).count();
  const UsageSample sample{.time = utc_now(),
                           .seconds = seconds,
                           .cpu_seconds = reading->cpu_seconds,
                           .cpus = (reading->cpu_seconds - last_.cpu_seconds) / std::max(seconds, 1e-3),
                           .memory_bytes = reading->memory_bytes,
                           .read_bytes = reading->read_bytes,
                           .written_bytes = reading->written_bytes,
                           .processes = reading->processes};
  last_ = *reading;
  totals_.add(sample);
  file_.add(sample);
  minute_.push_back(sample);
  if (minute_.size() > kMinute) minute_.pop_front();
  if (!looked_before_signal_) look_at(tree);
}

void UsageSampler::look_before_signal(const os::ProcessTree& tree) {
  if (!started_) return;
  names_.clear();
  look_at(tree);
  looked_before_signal_ = look_.before_signal = true;
}

LastLook UsageSampler::last_look() const {
  LastLook look = look_;
  look.samples.assign(minute_.begin(), minute_.end());
  return look;
}

void UsageSampler::look_at(const os::ProcessTree& tree) {
  if (tree.processes.empty()) return;  // what was seen last stays
  std::vector<os::ProcessFacts> largest(tree.processes.begin() + 1, tree.processes.end());
  look_ = {.time = utc_now(),
           .before_signal = false,
           .process_count = static_cast<std::int64_t>(largest.size()),
           .complete = tree.complete,
           .processes = {},
           .samples = {}};
  const auto shown = static_cast<std::ptrdiff_t>(std::min(largest.size(), kMostSeen));
  std::partial_sort(largest.begin(), largest.begin() + shown, largest.end(),
                    [](const auto& a, const auto& b) { return a.memory_bytes > b.memory_bytes; });
  largest.resize(static_cast<std::size_t>(shown));
  std::sort(largest.begin(), largest.end(), [](const auto& a, const auto& b) { return a.pid < b.pid; });
  name_processes(largest);
  for (const os::ProcessFacts& process : largest) {
    const Name& name = names_[{process.pid, process.start_ticks}];
    look_.processes.push_back({.pid = name.inner_pid,
                               .parent = inner_pid(process.parent),
                               .state = process.state,
                               .memory_bytes = process.memory_bytes,
                               .cpu_seconds = process.cpu_seconds,
                               .command = name.command.empty() ? "[" + process.name + "]" : name.command});
  }
}

// Each is asked for its command line once, as long as it is among those that are shown and calls itself the same.
void UsageSampler::name_processes(const std::vector<os::ProcessFacts>& processes) {
  std::map<Key, Name> known;
  std::vector<pid_t> unknown;
  for (const os::ProcessFacts& process : processes) {
    const Key key{process.pid, process.start_ticks};
    if (const auto at = names_.find(key); at != names_.end() && at->second.called == process.name)
      known.insert(names_.extract(at));
    else
      unknown.push_back(process.pid);
  }
  names_ = std::move(known);
  const auto lines = read_command_lines(unknown, kForNames);
  for (const os::ProcessFacts& process : processes)
    for (std::size_t i = 0; i < unknown.size(); ++i)
      if (unknown[i] == process.pid)
        names_[{process.pid, process.start_ticks}] = {
            .inner_pid = inner_pid(process.pid), .command = lines[i], .called = process.name};
}

pid_t UsageSampler::inner_pid(pid_t pid) const {
  const auto status = os::read_process_status(pid);
  return status ? status->inner_pid : 0;
}

}  // namespace runner::shim
