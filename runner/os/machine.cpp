#include "runner/os/machine.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "runner/os/fd.hpp"

namespace runner::os {
namespace {

// /proc/cpuinfo of many CPUs is long, and says all there is to say in its first entry.
std::string beginning_of(const char* path) {
  std::string text;
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> piece;
  while (file && text.size() < 4 * piece.size()) {
    const auto got = ::read(file.get(), piece.data(), piece.size());
    if (got <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// What follows the first `key` and `separator` on a line; without quotes.
std::string value_of(std::string_view text, std::string_view key, char separator) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : text.size());
    if (!line.starts_with(key)) continue;
    const auto at = line.find(separator);
    if (at == std::string_view::npos) continue;
    line.remove_prefix(at + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '"')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '"')) line.remove_suffix(1);
    return std::string(line);
  }
  return {};
}

// "535.161.08", whether the module is NVIDIA's own or the open one.
std::string nvidia_driver() {
  const std::string text = beginning_of("/sys/module/nvidia/version");
  return text.substr(0, text.find('\n'));
}

}  // namespace

int usable_cpus() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  // More CPUs than a set holds: the kernel refuses, and all of them are taken to be usable.
  if (::sched_getaffinity(0, sizeof usable, &usable) == 0) return CPU_COUNT(&usable);
  const long all = ::sysconf(_SC_NPROCESSORS_ONLN);
  return all > 0 ? static_cast<int>(all) : 1;
}

std::int64_t physical_memory() { return std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

MachineFacts machine_facts() {
  MachineFacts facts;
  struct ::utsname names {};
  if (::uname(&names) == 0) {
    facts.hostname = names.nodename;
    facts.kernel = names.release;
    facts.architecture = names.machine;
  }
  facts.system = value_of(beginning_of("/etc/os-release"), "PRETTY_NAME", '=');
  const std::string cpus = beginning_of("/proc/cpuinfo");
  facts.processor = value_of(cpus, "model name", ':');
  if (facts.processor.empty()) facts.processor = value_of(cpus, "Model", ':');
  facts.cpus = usable_cpus();
  facts.memory_bytes = physical_memory();
  facts.gpu_driver = nvidia_driver();
  return facts;
}

}  // namespace runner::os
