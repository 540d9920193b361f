#include "runner/os/machine.hpp"

#include <sched.h>
#include <unistd.h>

namespace runner::os {

int usable_cpus() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  // More CPUs than a set holds: the kernel refuses, and all of them are taken to be usable.
  if (::sched_getaffinity(0, sizeof usable, &usable) == 0) return CPU_COUNT(&usable);
  const long all = ::sysconf(_SC_NPROCESSORS_ONLN);
  return all > 0 ? static_cast<int>(all) : 1;
}

std::int64_t physical_memory() { return std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

}  // namespace runner::os
