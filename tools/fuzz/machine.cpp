// What the machine says of itself: CDI files, /proc, where its cgroups are. Processes choose their own names, and
// anybody may write a CDI file by hand.
#include <string>

#include "runner/exec/cdi.hpp"
#include "runner/exec/mount_plan.hpp"
#include "runner/os/cgroup.hpp"
#include "runner/os/control_file.hpp"
#include "runner/os/process_tree.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void read_cdi(const std::string& text) {
  fuzz::accepts([&] {
    const exec::CdiSpec spec = exec::parse_cdi(text);
    exec::ContainerEdits all = spec.edits;
    for (const exec::CdiDevice& device : spec.devices) exec::add(all, device.edits);
    for (const exec::DeviceNode& node : all.nodes)
      fuzz::require(node.path.starts_with('/') && node.host_path.starts_with('/'), "a device node has a place", text);
  });
}

// A name says nothing about the numbers behind it.
void read_process(std::string_view name) {
  const std::string behind = ") S 7 8 9 0 -1 4194560 1 2 3 4 100 200 300 400 20 0 5 0 4711 1000 6 18446744073709551615";
  const auto facts = os::parse_process(42, "42 (" + std::string(name.substr(0, 15)) + behind);
  fuzz::require(facts && facts->parent == 7 && facts->group == 8 && facts->start_ticks == 4711 &&
                    facts->name == name.substr(0, 15),
                "a process cannot lie about what it is by its name", name);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(6)) {
    case 0:
      read_cdi(std::string(input.rest()));
      break;
    case 1: {
      const std::string_view mine = input.take_until('\0');
      fuzz::accepts([&] { os::find_cgroup_base(input.rest(), mine); });
      fuzz::accepts([&] { os::cgroups_of(input.rest(), mine); });
      break;
    }
    case 2:
      read_process(input.rest());
      break;
    case 3:
      os::parse_process(42, input.rest());
      os::parse_process_status(42, input.rest());
      break;
    case 4:
      for (const auto line : os::split(input.rest(), '\n')) os::as_number(line);
      break;
    default: {
      const std::string escaped = exec::escape_overlay_path(std::string(input.rest()));
      std::string plain;
      for (std::size_t i = 0; i < escaped.size(); ++i) {
        if (escaped[i] == '\\' && i + 1 < escaped.size())
          ++i;
        else
          fuzz::require(escaped[i] != ':' && escaped[i] != ',', "what separates is escaped", input.rest(), escaped);
        plain += escaped[i];
      }
      fuzz::require(plain == input.rest(), "a path survives", input.rest(), escaped);
    }
  }
  return 0;
}
