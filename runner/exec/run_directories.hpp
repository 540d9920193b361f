// What a run writes in, on the host: made before any container of whatever isolation.
#pragma once

#include "runner/os/data_directory.hpp"

namespace runner::exec {

// upper, work, home, tmp, io, bundle, state and the metric journal. Existing ones are left alone.
void make_run_directories(const os::RunDirectory& directory);

}  // namespace runner::exec
